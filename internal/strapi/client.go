package strapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/httpclient"
	"dealbox/internal/text"
)

const (
	defaultTimeout   = 10 * time.Second
	defaultMaxBytes  = 16 << 20
	defaultUserAgent = "dealbox"
	// idlePerHost is above the default WORKER_COUNT of 50, so that each worker
	// keeps its connection.
	idlePerHost = 64
	// idleTimeout stays below the 5 s after which Node closes an idle connection:
	// a request that meets the closing fails.
	idleTimeout = 4 * time.Second
)

// Config names a Strapi and bounds the requests to it.
type Config struct {
	// BaseURL is that of Strapi's REST API, such as https://example.com/rest/v2. Without
	// a path it is /api, where Strapi has it unless api.rest.prefix says otherwise.
	BaseURL string
	// Token is a Strapi API token. A read-only one is enough.
	Token string
	// Timeout bounds one request, from the dial to the last byte. 0 means 10 s.
	Timeout time.Duration
	// UserAgent is a header of each request; "" means dealbox.
	UserAgent string
	// MaxBytes bounds an answer, after decompression. 0 means 16 MiB.
	MaxBytes int64
	// Transport makes the requests; nil means one of the client's own, with room
	// for many idle connections to one host.
	Transport http.RoundTripper
}

// Client reads from Strapi's REST API. It is safe for concurrent use.
type Client struct {
	base      string // of the REST API, without a slash at its end
	path      string // of base, such as /api
	token     string
	timeout   time.Duration
	userAgent string
	maxBytes  int64
	http      *http.Client
}

// New makes a Client. It sends nothing yet. Its errors never hold the URL or the
// token.
func New(c Config) (*Client, error) {
	base, path, err := apiBase(c.BaseURL)
	if err != nil {
		return nil, err
	}
	if c.Token == "" || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the Strapi API token is empty or has characters that a header cannot carry")
	}
	if c.Timeout < 0 || c.MaxBytes < 0 {
		return nil, errors.New("the timeout and the size limit of Strapi requests must not be negative")
	}
	client := &Client{
		base:      base,
		path:      path,
		token:     c.Token,
		timeout:   c.Timeout,
		userAgent: c.UserAgent,
		maxBytes:  c.MaxBytes,
		http:      httpclient.New(c.Transport),
	}
	if c.Transport == nil {
		client.http.Transport = transport()
	}
	if client.timeout == 0 {
		client.timeout = defaultTimeout
	}
	if client.userAgent == "" {
		client.userAgent = defaultUserAgent
	}
	if client.maxBytes == 0 {
		client.maxBytes = defaultMaxBytes
	}
	return client, nil
}

// apiBase returns the URL of the REST API and its path, which is /api where raw has
// none. Its errors never quote the URL, which may hold a password.
func apiBase(raw string) (base, path string, err error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return "", "", errors.New("the Strapi URL cannot be read; it should look like https://cms.example.com")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "", errors.New("the Strapi URL must begin with http:// or https://")
	case u.Hostname() == "":
		return "", "", errors.New("the Strapi URL has no host")
	case u.User != nil:
		return "", "", errors.New("the Strapi URL must not hold a user or password; the API token authenticates")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", "", errors.New("the Strapi URL must not have a query or a fragment")
	}
	path = cmp.Or(strings.TrimRight(u.EscapedPath(), "/"), "/api")
	return u.Scheme + "://" + u.Host + path, path, nil
}

// transport returns a transport of the client's own, so that no other code's
// settings or load reach it.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2 * idlePerHost,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       idleTimeout,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// WithTimeout returns a copy of the client with at most this long for one request.
func (c *Client) WithTimeout(limit time.Duration) *Client {
	limited := *c
	limited.timeout = min(c.timeout, limit)
	return &limited
}

// WithMaxBytes returns a copy of the client that reads at most this many bytes of an answer.
func (c *Client) WithMaxBytes(limit int64) *Client {
	limited := *c
	limited.maxBytes = min(c.maxBytes, limit)
	return &limited
}

// Document reads one version of a document. A locale of "" means the default one.
// The error is an *Error, or wraps ctx.Err() when ctx has ended.
func (c *Client) Document(ctx context.Context, t ContentType, documentID, locale string, v Version, q Query) (Document, error) {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural) + "/" + url.PathEscape(documentID), query: url.Values{}}
	if documentID == "" || isDots(documentID) {
		// Its path would name another resource.
		return Document{}, r.fail(Rejected, 0, "not sent: the documentId is not an identifier")
	}
	if v == Draft {
		r.query.Set("status", "draft")
	}
	if locale != "" {
		r.query.Set("locale", locale)
	}
	q.addTo(r.query)
	body, _, err := c.get(ctx, r)
	if err != nil {
		return Document{}, err
	}
	doc, fault := parseDocumentAnswer(body, documentID)
	if fault == "" && locale != "" && doc.Locale != "" && doc.Locale != locale {
		fault = "requested in locale " + strconv.Quote(locale) + ", answered in another; does a proxy drop the query?"
	}
	if fault != "" {
		return Document{}, r.fail(Unreadable, http.StatusOK, fault)
	}
	return doc, nil
}

// CheckList reports whether the type can be read: nil means that Strapi is there,
// accepts the token, has the type's route and knows the relations of q. It requests
// one document of the list, and of it the documentId alone, so that a document
// which is too large to read does not speak for its type. The errors are those of
// Document but for NotFound: the 404 of a list is a MissingRoute.
func (c *Client) CheckList(ctx context.Context, t ContentType, q Query) error {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural), query: url.Values{"pagination[pageSize]": {"1"}}}
	q.Fields = []string{"documentId"}
	q.addTo(r.query)
	body, _, err := c.collection(ctx, r)
	if err != nil {
		return err
	}
	if _, fault := parseListAnswer(body); fault != "" {
		return r.fail(Unreadable, http.StatusOK, fault)
	}
	return nil
}

// Listed reports whether the type's list has a version of one document. A locale of ""
// means the default one. The errors are those of CheckList.
func (c *Client) Listed(ctx context.Context, t ContentType, documentID, locale string, v Version) (bool, error) {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural), query: url.Values{
		"pagination[pageSize]": {"100"}, "fields[0]": {"documentId"}, "filters[documentId][$eq]": {documentID},
	}}
	if v == Draft {
		r.query.Set("status", "draft")
	}
	if locale != "" {
		r.query.Set("locale", locale)
	}
	body, _, err := c.collection(ctx, r)
	if err != nil {
		return false, err
	}
	list, fault := parseListAnswer(body)
	listed, others := false, 0
	for _, raw := range list.documents {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			fault = "the list cannot be read"
			continue
		}
		if id, _ := takeString(members, "documentId"); id == documentID {
			listed = true
		} else {
			others++
		}
	}
	switch {
	case fault == "" && listed:
		return true, nil
	case fault == "" && others > 0 && len(list.documents) == list.pagination.PageSize:
		// What answers ignores the filter, and the rest of its list is not here.
		fault = "the list has another document than the requested one; does a proxy drop the query?"
	}
	if fault != "" {
		return false, r.fail(Unreadable, http.StatusOK, fault)
	}
	return false, nil
}

// Sample reads some documents of a type, at most n, in any locale: drafts, or where
// there are none what is published. Errors are those of CheckList.
func (c *Client) Sample(ctx context.Context, t ContentType, q Query, n int) ([]Document, error) {
	docs, err := c.sample(ctx, t, q, n, Draft)
	if err == nil && len(docs) == 0 {
		// Strapi has a draft of each document. What stands before it may not.
		docs, err = c.sample(ctx, t, q, n, Published)
	}
	return docs, err
}

func (c *Client) sample(ctx context.Context, t ContentType, q Query, n int, v Version) ([]Document, error) {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural), query: url.Values{
		"pagination[pageSize]": {strconv.Itoa(n)}, "status": {string(v)}, "locale": {"*"},
	}}
	q.addTo(r.query)
	body, _, err := c.collection(ctx, r)
	if err != nil {
		return nil, err
	}
	list, fault := parseListAnswer(body)
	if fault != "" {
		return nil, r.fail(Unreadable, http.StatusOK, fault)
	}
	var docs []Document
	for _, raw := range list.documents[:min(n, len(list.documents))] {
		if doc, odd := parseRow(raw); odd.Reason == "" {
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// collection is get for a list, whose 404 is a missing route.
func (c *Client) collection(ctx context.Context, r request) ([]byte, http.Header, error) {
	body, header, err := c.get(ctx, r)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == NotFound {
		e.Kind, e.Message = MissingRoute, "Strapi has no such collection; check the content type's REST plural, and that STRAPI_URL ends with api.rest.prefix where that is not /api"
	}
	return body, header, err
}

// get returns the body and the header of a 200. Any other status is an error.
func (c *Client) get(ctx context.Context, r request) ([]byte, http.Header, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, c.base+r.target(), nil)
	if err != nil {
		return nil, nil, r.fail(Rejected, 0, "not sent: the request's URL cannot be made")
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)

	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(ctx, limited, r, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(&shortStrings{r: res.Body}, c.maxBytes+1))
	switch {
	case err != nil && res.StatusCode == http.StatusOK:
		return nil, nil, c.unreachable(ctx, limited, r, err)
	case err != nil && ctx.Err() != nil:
		return nil, nil, stopped(ctx, r)
	case res.StatusCode != http.StatusOK:
		// The status decides, whether or not the body could be read.
		return nil, nil, c.refusal(r, res, body)
	case int64(len(body)) > c.maxBytes:
		e := r.fail(Unreadable, res.StatusCode, fmt.Sprintf("the answer is larger than %d bytes", c.maxBytes))
		e.err = ErrTooLarge
		return nil, nil, e
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		e := r.fail(Unreadable, res.StatusCode, htmlFault)
		e.Headers = c.origin(res.Header)
		e.Message += words(e.Headers)
		return nil, nil, e
	}
	return body, res.Header, nil
}

// unreachable returns the error of a request without a complete answer: the end
// of the caller's ctx, the client's own timeout or what the network says.
func (c *Client) unreachable(ctx, limited context.Context, r request, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx, r)
	}
	e := r.fail(Unreachable, 0, "")
	if limited.Err() != nil {
		// It wraps nothing: to the caller it would look as if its own ctx had ended.
		e.Message = fmt.Sprintf("no complete answer within %s", c.timeout)
		return e
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the URL, whose path is in Op
	}
	e.Message, e.err = text.Line(c.redact(err.Error()), maxMessage), err
	return e
}

func stopped(ctx context.Context, r request) error {
	return fmt.Errorf("strapi: %s: %w", r.op(), ctx.Err())
}

// MinToken is the least length of a token, in bytes. Strapi makes tokens of 256; what is
// shorter was cut.
const MinToken = 16

// redact takes the token out of a server's text: it may repeat what it received. A token
// of some letters would also stand in ordinary text.
func (c *Client) redact(s string) string {
	if len(c.token) < MinToken {
		return s
	}
	return strings.ReplaceAll(s, c.token, "[token]")
}

// request is a GET below the REST API's path.
type request struct {
	api   string // that path, such as /api
	path  string // escaped
	query url.Values
}

func (r request) target() string {
	if len(r.query) == 0 {
		return r.path
	}
	return r.path + "?" + r.query.Encode()
}

func (r request) fail(kind ErrorKind, status int, message string) *Error {
	return &Error{Kind: kind, Status: status, Op: r.op(), Message: message}
}

// op names the request in errors, without its query, which is long and the same
// for each request of a type.
func (r request) op() string { return "GET " + r.api + r.path }
