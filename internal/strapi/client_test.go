package strapi

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	documentID  = "rqxr53blx3djlctqpjz4oif8"
	canaryToken = "canary-token-0123456789abcdef"

	// Answers as Strapi 5.54.0 gives them.
	dealAnswer = `{"data":{"id":1,"documentId":"rqxr53blx3djlctqpjz4oif8","name":"Deal A – Ünïcode \"quotes\"","deal_value":120000.5,"probability":40,"stage":"proposal","recognition_start_month":"2026-01-01","recognition_end_month":"2026-06-01","deal_status":"active","currency":"EUR","createdAt":"2026-11-23T21:08:39.053Z","updatedAt":"2026-11-23T21:08:39.905Z","publishedAt":"2026-11-23T21:08:39.902Z","billings":[{"id":1,"documentId":"fip7mm19w4huyalswqj611h7"},{"id":2,"documentId":"it4ws46q2z7pk975z6ggdsib"}]},"meta":{}}`
	listAnswer = `{"data":[{"id":1,"documentId":"rqxr53blx3djlctqpjz4oif8"}],"meta":{"pagination":{"page":1,"pageSize":1,"pageCount":1,"total":1}}}`

	notFoundAnswer     = `{"data":null,"error":{"status":404,"name":"NotFoundError","message":"Not Found","details":{}}}`
	unauthorizedAnswer = `{"data":null,"error":{"status":401,"name":"UnauthorizedError","message":"Missing or invalid credentials","details":{}}}`
	forbiddenAnswer    = `{"data":null,"error":{"status":403,"name":"ForbiddenError","message":"Forbidden","details":{}}}`
	validationAnswer   = `{"data":null,"error":{"status":400,"name":"ValidationError","message":"Invalid key nme","details":{"errors":[]}}}`
	rateLimitAnswer    = `{"data":null,"error":{"status":429,"name":"RateLimitError","message":"Too many requests, please try again later.","details":{}}}`
	internalAnswer     = `{"data":null,"error":{"status":500,"name":"InternalServerError","message":"Internal Server Error"}}`
	htmlAnswer         = "<!doctype html><html><body>502 Bad Gateway</body></html>"
)

var deals = ContentType{Kind: Deal, UID: dealUID, Plural: "pipeline-deals"}

// answer is what the server of a test does with every request.
type answer struct {
	status int
	body   string
	header http.Header
}

func (a answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func mustClient(t *testing.T, c Config) *Client {
	t.Helper()
	if c.Token == "" {
		c.Token = canaryToken
	}
	client, err := New(c)
	require.NoError(t, err)
	return client
}

func getDocument(ctx context.Context, c *Client) (Document, error) {
	return c.Document(ctx, deals, documentID, "", Published, Query{Populate: []string{"billings"}})
}

func requireError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.NotContains(t, err.Error(), canaryToken)
	require.NotContains(t, err.Error(), "\n")
	return e
}

func TestClient_Document(t *testing.T) {
	t.Parallel()
	server := serve(t, answer{status: 200, body: dealAnswer})

	doc, err := getDocument(t.Context(), mustClient(t, Config{BaseURL: server.URL}))

	require.NoError(t, err)
	require.Equal(t, int64(1), doc.ID)
	require.Equal(t, documentID, doc.DocumentID)
	require.Empty(t, doc.Locale)
	require.Equal(t, time.Date(2026, 11, 23, 21, 8, 39, 53e6, time.UTC), *doc.CreatedAt)
	require.Equal(t, time.Date(2026, 11, 23, 21, 8, 39, 905e6, time.UTC), *doc.UpdatedAt)
	require.Equal(t, time.Date(2026, 11, 23, 21, 8, 39, 902e6, time.UTC), *doc.PublishedAt)
	require.Equal(t, "120000.5", string(doc.Attributes["deal_value"]))
	require.Equal(t, `"Deal A – Ünïcode \"quotes\""`, string(doc.Attributes["name"]))
	require.Len(t, doc.Attributes, 9)
	ids, ok := RelationIDs(doc.Attributes["billings"])
	require.True(t, ok)
	require.Equal(t, []string{"fip7mm19w4huyalswqj611h7", "it4ws46q2z7pk975z6ggdsib"}, ids)
}

// Without locales there is one row for all; one in another locale is another row.
func TestClient_Document_Locale(t *testing.T) {
	t.Parallel()
	for asked, answers := range map[string]map[string]string{
		"":   {"": "", "en": ""},
		"fr": {"": "", "fr": "", "en": `requested in locale "fr", answered in another`},
	} {
		for locale, fault := range answers {
			body := strings.Replace(dealAnswer, `"documentId"`, `"locale":"`+locale+`","documentId"`, 1)
			client := mustClient(t, Config{BaseURL: serve(t, answer{status: 200, body: body}).URL})
			doc, err := client.Document(t.Context(), deals, documentID, asked, Published, Query{})
			if fault == "" {
				require.NoError(t, err)
				require.Equal(t, locale, doc.Locale)
				continue
			}
			e := requireError(t, err)
			require.Equal(t, Unreadable, e.Kind)
			require.ErrorContains(t, err, fault)
		}
	}
}

func TestClient_Document_Request(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		base, id, locale string
		version          Version
		query            Query
		wantPath         string
		wantQuery        url.Values
	}{
		"Plain":         {"", "abc", "", Published, Query{}, "/api/pipeline-deals/abc", url.Values{}},
		"ZeroVersion":   {"", "abc", "", "", Query{}, "/api/pipeline-deals/abc", url.Values{}},
		"TrailingSlash": {"/", "abc", "", Published, Query{}, "/api/pipeline-deals/abc", url.Values{}},
		"WithAPI":       {"/api", "abc", "", Published, Query{}, "/api/pipeline-deals/abc", url.Values{}},
		"WithAPISlash":  {"/api/", "abc", "", Published, Query{}, "/api/pipeline-deals/abc", url.Values{}},
		"Prefix":        {"/rest/v2", "abc", "", Published, Query{}, "/rest/v2/pipeline-deals/abc", url.Values{}},
		"PrefixSlash":   {"/rest/v2/", "abc", "", Published, Query{}, "/rest/v2/pipeline-deals/abc", url.Values{}},
		"BasePathAPI":   {"/cms/api/", "abc", "", Published, Query{}, "/cms/api/pipeline-deals/abc", url.Values{}},
		"NotTheAPIPath": {"/myapi", "abc", "", Published, Query{}, "/myapi/pipeline-deals/abc", url.Values{}},
		"Draft":         {"", "abc", "", Draft, Query{}, "/api/pipeline-deals/abc", url.Values{"status": {"draft"}}},
		"Locale":        {"", "abc", "fr&CA", Published, Query{}, "/api/pipeline-deals/abc", url.Values{"locale": {"fr&CA"}}},
		"Populate": {"", "abc", "", Published, Query{Populate: []string{"billings", "owner"}}, "/api/pipeline-deals/abc",
			url.Values{"populate[billings][fields][0]": {"documentId"}, "populate[owner][fields][0]": {"documentId"}}},
		"EscapedID": {"", "../a b?c#d%2F/é", "", Published, Query{}, "/api/pipeline-deals/..%2Fa%20b%3Fc%23d%252F%2F%C3%A9", url.Values{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"documentId": c.id}})
			}))
			client := mustClient(t, Config{BaseURL: server.URL + c.base, UserAgent: "dealbox/1.2"})

			doc, err := client.Document(t.Context(), deals, c.id, c.locale, c.version, c.query)

			require.NoError(t, err)
			require.Equal(t, c.id, doc.DocumentID)
			require.Equal(t, http.MethodGet, got.Method)
			require.Equal(t, c.wantPath, got.URL.EscapedPath())
			require.Equal(t, c.wantQuery, got.URL.Query())
			require.Equal(t, "Bearer "+canaryToken, got.Header.Get("Authorization"))
			require.Equal(t, "application/json", got.Header.Get("Accept"))
			require.Equal(t, "dealbox/1.2", got.Header.Get("User-Agent"))
		})
	}
}

// Each answer that a Strapi, a proxy or a wrong URL gives has its kind, for a
// document and for the collection.
func TestClient_Answers(t *testing.T) {
	t.Parallel()
	retry := http.Header{"Retry-After": {"7"}}
	for name, c := range map[string]struct {
		answer   answer
		document ErrorKind // "" means no error
		list     ErrorKind
		text     string
	}{
		"Document":              {answer{status: 200, body: dealAnswer}, "", Unreadable, "data is not an array"},
		"List":                  {answer{status: 200, body: listAnswer}, Unreadable, "", "data is not an object"},
		"EmptyList":             {answer{status: 200, body: `{"data":[],"meta":{"pagination":{"page":1,"pageSize":1}}}`}, Unreadable, "", "data is not an object"},
		"ListWithoutMeta":       {answer{status: 200, body: `{"data":[]}`}, Unreadable, Unreadable, ""},
		"ListNullPagination":    {answer{status: 200, body: `{"data":[],"meta":{"pagination":null}}`}, Unreadable, Unreadable, ""},
		"HTML200":               {answer{status: 200, body: htmlAnswer}, Unreadable, Unreadable, "HTML or XML"},
		"EmptyArray":            {answer{status: 200, body: "[]"}, Unreadable, Unreadable, "not a JSON object"},
		"Null":                  {answer{status: 200, body: "null"}, Unreadable, Unreadable, "not a JSON object"},
		"EmptyObject":           {answer{status: 200, body: "{}"}, Unreadable, Unreadable, "data is not a"},
		"Truncated":             {answer{status: 200, body: dealAnswer[:100]}, Unreadable, Unreadable, "cut short"},
		"Trailing":              {answer{status: 200, body: dealAnswer + listAnswer}, Unreadable, Unreadable, "not valid JSON"},
		"EmptyBody":             {answer{status: 200}, Unreadable, Unreadable, "empty"},
		"DataNull":              {answer{status: 200, body: `{"data":null}`}, Unreadable, Unreadable, "data is n"},
		"DataString":            {answer{status: 200, body: `{"data":"x"}`}, Unreadable, Unreadable, ""},
		"OtherLetterCase":       {answer{status: 200, body: strings.Replace(dealAnswer, `"data"`, `"Data"`, 1)}, Unreadable, Unreadable, ""},
		"OtherDocument":         {answer{status: 200, body: `{"data":{"documentId":"other"}}`}, Unreadable, Unreadable, ""},
		"Strapi4":               {answer{status: 200, body: `{"data":{"id":1,"attributes":{}}}`}, Unreadable, Unreadable, ""},
		"UnreadablePublishedAt": {answer{status: 200, body: `{"data":{"documentId":"rqxr53blx3djlctqpjz4oif8","publishedAt":"yesterday"}}`}, Unreadable, Unreadable, ""},
		"NoContent":             {answer{status: 204}, Unreadable, Unreadable, "something else answered"},
		"Created":               {answer{status: 201, body: dealAnswer}, Unreadable, Unreadable, "something else answered"},
		"Unauthorized":          {answer{status: 401, body: unauthorizedAnswer}, Refused, Refused, "UnauthorizedError: Missing or invalid credentials; check the API token"},
		"Forbidden":             {answer{status: 403, body: forbiddenAnswer}, Refused, Refused, "ForbiddenError"},
		"ForbiddenHTML":         {answer{status: 403, body: htmlAnswer}, Blocked, Blocked, "Forbidden not in Strapi's form"},
		"ForbiddenJSON":         {answer{status: 403, body: `{"success":false,"errors":[{"code":1020}]}`}, Blocked, Blocked, "Forbidden not in Strapi's form"},
		"BasicAuth":             {answer{status: 401, body: ""}, Blocked, Blocked, "Unauthorized not in Strapi's form"},
		"ProxyLogin":            {answer{status: 407, body: htmlAnswer}, Blocked, Blocked, "Proxy Authentication Required not in Strapi's form"},
		"LegalReasons":          {answer{status: 451, body: htmlAnswer}, Blocked, Blocked, "Unavailable For Legal Reasons not in Strapi's form"},
		"NotFound":              {answer{status: 404, body: notFoundAnswer}, NotFound, MissingRoute, ""},
		"NotFoundHTML":          {answer{status: 404, body: htmlAnswer}, MissingRoute, MissingRoute, ""},
		"NotFoundEmpty":         {answer{status: 404}, MissingRoute, MissingRoute, ""},
		"NotFoundOtherJSON":     {answer{status: 404, body: `{"error":"not found"}`}, MissingRoute, MissingRoute, ""},
		"NotFoundNoData":        {answer{status: 404, body: strings.Replace(notFoundAnswer, `"data":null,`, "", 1)}, MissingRoute, MissingRoute, ""},
		"NotFoundWithData":      {answer{status: 404, body: strings.Replace(notFoundAnswer, `"data":null`, `"data":{}`, 1)}, MissingRoute, MissingRoute, ""},
		"NotFoundOtherName":     {answer{status: 404, body: strings.Replace(notFoundAnswer, "NotFoundError", "PolicyError", 1)}, MissingRoute, MissingRoute, ""},
		"NotFoundOtherStatus":   {answer{status: 404, body: strings.Replace(notFoundAnswer, "404", "400", 1)}, MissingRoute, MissingRoute, ""},
		"NotFoundTruncated":     {answer{status: 404, body: notFoundAnswer[:len(notFoundAnswer)-1]}, MissingRoute, MissingRoute, ""},
		"NotFoundIn200":         {answer{status: 200, body: notFoundAnswer}, Unreadable, Unreadable, ""},
		"MethodNotAllowed":      {answer{status: 405, body: "Method Not Allowed"}, MissingRoute, MissingRoute, ""},
		"Gone":                  {answer{status: 410, body: notFoundAnswer}, Rejected, Rejected, ""},
		"Validation":            {answer{status: 400, body: validationAnswer}, Rejected, Rejected, "ValidationError: Invalid key nme"},
		"RequestTimeout":        {answer{status: 408, header: retry}, Unavailable, Unavailable, ""},
		"RateLimit":             {answer{status: 429, body: rateLimitAnswer, header: retry}, Unavailable, Unavailable, "RateLimitError"},
		"Internal":              {answer{status: 500, body: internalAnswer, header: retry}, Unavailable, Unavailable, "InternalServerError"},
		"BadGatewayHTML":        {answer{status: 502, body: htmlAnswer, header: retry}, Unavailable, Unavailable, "Bad Gateway not in Strapi's form"},
		"ServiceUnavailable":    {answer{status: 503, header: retry}, Unavailable, Unavailable, ""},
		"NotFoundIn500":         {answer{status: 500, body: notFoundAnswer, header: retry}, Unavailable, Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := mustClient(t, Config{BaseURL: serve(t, c.answer).URL})
			check := func(want ErrorKind, err error) {
				if want == "" {
					require.NoError(t, err)
					return
				}
				e := requireError(t, err)
				require.Equal(t, want, e.Kind, err)
				require.Equal(t, want, KindOf(err))
				require.Equal(t, c.answer.status, e.Status)
				require.Equal(t, want == Unavailable, e.Transient())
				require.ErrorContains(t, err, c.text)
				require.ErrorContains(t, err, "GET /api/pipeline-deals")
				if want == Unavailable {
					require.Equal(t, 7*time.Second, e.RetryAfter())
				} else {
					require.Zero(t, e.RetryAfter())
				}
			}

			_, err := getDocument(t.Context(), client)
			check(c.document, err)
			check(c.list, client.CheckList(t.Context(), deals, Query{}))
		})
	}
}

func TestClient_CheckList_Request(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query Query
		want  url.Values
	}{
		"Plain": {Query{}, url.Values{"pagination[pageSize]": {"1"}, "fields[0]": {"documentId"}}},
		// So that a relation which Strapi does not know shows here too.
		"Populate": {Query{Populate: []string{"billings"}},
			url.Values{"pagination[pageSize]": {"1"}, "fields[0]": {"documentId"}, "populate[billings][fields][0]": {"documentId"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				answer{status: 200, body: listAnswer}.ServeHTTP(w, r)
			}))
			require.NoError(t, mustClient(t, Config{BaseURL: server.URL}).CheckList(t.Context(), deals, c.query))
			require.Equal(t, "/api/pipeline-deals", got.URL.Path)
			require.Equal(t, c.want, got.URL.Query())
		})
	}
}

func TestClient_ErrorsNameThePrefix(t *testing.T) {
	t.Parallel()
	client := mustClient(t, Config{BaseURL: serve(t, answer{status: 500}).URL + "/rest/v2"})
	_, listed := client.Listed(t.Context(), deals, documentID, "", Published)
	_, list := client.List(t.Context(), deals, ListQuery{})
	_, sample := client.Sample(t.Context(), deals, Query{}, 1)
	for _, err := range []error{listed, list, sample, client.CheckList(t.Context(), deals, Query{})} {
		require.Equal(t, "GET /rest/v2/pipeline-deals", requireError(t, err).Op)
	}
}

func TestClient_RedirectIsNeverFollowed(t *testing.T) {
	t.Parallel()
	target := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := serve(t, answer{status: status, header: http.Header{"Location": {target.URL + "/login?session=secret"}}})

		_, err := getDocument(t.Context(), mustClient(t, Config{BaseURL: server.URL}))

		e := requireError(t, err)
		require.Equal(t, Blocked, e.Kind)
		require.Equal(t, target.URL, e.Headers["location"], "without what may hold a session")
		require.Equal(t, status, e.Status)
		require.ErrorContains(t, err, "a redirect, which is never followed")
		require.False(t, e.Transient())
	}
}

// Who refused Dealbox is in the error: cleaned, bounded, and no other header.
func TestClient_BlockedSaysWhoAnswered(t *testing.T) {
	t.Parallel()
	server := serve(t, answer{status: 403, body: "<html>Sorry, you have been blocked</html>", header: http.Header{
		"Server": {"cloudflare"}, "Cf-Ray": {"8f1d2c3b4a5e6f70-SIN"}, "Via": {"1.1 " + strings.Repeat("v", 5000)},
		"Content-Type": {"text/html"}, "Set-Cookie": {"session=secret"}, "X-Echo": {"a token"},
	}})

	_, err := getDocument(t.Context(), mustClient(t, Config{BaseURL: server.URL}))

	e := requireError(t, err)
	require.Equal(t, Blocked, e.Kind)
	require.Len(t, e.Headers, 4)
	require.Equal(t, "cloudflare", e.Headers["server"])
	require.Equal(t, "8f1d2c3b4a5e6f70-SIN", e.Headers["cf-ray"])
	require.LessOrEqual(t, len(e.Headers["via"]), 100)
	require.ErrorContains(t, err, "(server cloudflare, via 1.1 vvv")
	require.NotContains(t, err.Error(), "secret")
}

// hang holds every request until the test ends, after what begin sends.
func hang(t *testing.T, begin func(http.ResponseWriter)) *httptest.Server {
	t.Helper()
	end := make(chan struct{})
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin(w)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end) })
	return server
}

func TestClient_Timeout(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.ResponseWriter){
		"NoAnswer": func(http.ResponseWriter) {},
		"MidBody": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, dealAnswer[:100])
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := hang(t, begin).URL
			client := mustClient(t, Config{BaseURL: url, Timeout: 50 * time.Millisecond})
			patient := mustClient(t, Config{BaseURL: url, Timeout: time.Hour})
			for _, client := range []*Client{client, client.WithTimeout(time.Hour), patient.WithTimeout(50 * time.Millisecond)} {
				_, err := getDocument(t.Context(), client)

				e := requireError(t, err)
				require.Equal(t, Unreachable, e.Kind)
				require.True(t, e.Transient())
				require.ErrorContains(t, err, "no complete answer within 50ms")
				require.NotErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}

func TestClient_CallersContext(t *testing.T) {
	t.Parallel()
	for name, makeContext := range map[string]func(context.Context, <-chan struct{}) (context.Context, context.CancelFunc){
		"CanceledBefore": func(ctx context.Context, _ <-chan struct{}) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		},
		"CanceledDuring": func(ctx context.Context, arrived <-chan struct{}) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() { <-arrived; cancel() }()
			return ctx, cancel
		},
		"Deadline": func(ctx context.Context, _ <-chan struct{}) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{})
			var once sync.Once
			server := hang(t, func(http.ResponseWriter) { once.Do(func() { close(arrived) }) })
			ctx, cancel := makeContext(t.Context(), arrived)
			defer cancel()

			_, err := getDocument(ctx, mustClient(t, Config{BaseURL: server.URL}))

			require.ErrorIs(t, err, ctx.Err())
			require.Empty(t, KindOf(err), "the end of the caller's context is no fault of Strapi")
		})
	}
}

func TestClient_Unreachable(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	cut := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"data":`)
	}))
	for name, c := range map[string]struct {
		base  string
		cause error
		text  string
	}{
		"ConnectionRefused": {closed.URL, syscall.ECONNREFUSED, "connection refused"},
		"UnknownHost":       {"http://strapi.invalid", nil, ""},
		"NotTLS":            {strings.Replace(serve(t, answer{status: 200}).URL, "http:", "https:", 1), nil, "HTTP response to HTTPS client"},
		"UnknownAuthority":  {tlsServer(t).URL, nil, "certificate"},
		"CutMidBody":        {cut.URL, io.ErrUnexpectedEOF, "unexpected EOF"},
		"ClosedAtOnce":      {hangUp(t), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := getDocument(t.Context(), mustClient(t, Config{BaseURL: c.base}))
			e := requireError(t, err)
			require.Equal(t, Unreachable, e.Kind)
			require.True(t, e.Transient())
			require.Zero(t, e.Status)
			require.ErrorContains(t, err, c.text)
			if c.cause != nil {
				require.ErrorIs(t, err, c.cause)
			}
		})
	}
}

func tlsServer(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(answer{status: 200})
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// hangUp is the URL of a server that closes each connection unanswered.
func hangUp(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestClient_Oversized(t *testing.T) {
	t.Parallel()
	pad := strings.Repeat(" ", 1000-len(dealAnswer)%1000)
	exact := int64(len(dealAnswer + pad))
	plain := answer{status: 200, body: dealAnswer + pad}
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
				return
			}
		}
	})
	bomb := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, dealAnswer+strings.Repeat(" ", 1<<20))
		_ = z.Close()
	})
	for name, c := range map[string]struct {
		handler http.Handler
		limit   int64
		fits    bool
	}{
		"AtTheLimit":  {plain, exact, true},
		"OneByteOver": {plain, exact - 1, false},
		"Endless":     {endless, 1 << 16, false},
		"GzipBomb":    {bomb, 1 << 16, false},
		"Gzip":        {bomb, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := mustClient(t, Config{BaseURL: serve(t, c.handler).URL, MaxBytes: c.limit})
			_, err := getDocument(t.Context(), client)
			if c.fits {
				require.NoError(t, err)
				return
			}
			require.Equal(t, Unreadable, requireError(t, err).Kind)
			require.ErrorContains(t, err, "larger than")
		})
	}
}

func TestClient_Document_RefusesOddIDs(t *testing.T) {
	t.Parallel()
	server := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	client := mustClient(t, Config{BaseURL: server.URL})
	for _, id := range []string{"", ".", ".."} {
		_, err := client.Document(t.Context(), deals, id, "", Published, Query{})
		require.Equal(t, Rejected, requireError(t, err).Kind)
	}
}

// A server may send back what we sent, or text made to forge log lines.
func TestClient_ErrorTextIsSafe(t *testing.T) {
	t.Parallel()
	said, err := json.Marshal(map[string]any{"data": nil, "error": map[string]any{
		"status": 400, "name": "ValidationError",
		"message": "x\n{\"level\":\"error\"} \x1b[31m" + strings.Repeat("é", 300) + canaryToken,
	}})
	require.NoError(t, err)
	echo, err := json.Marshal(map[string]any{"data": nil, "error": map[string]any{
		"status": 400, "name": "ValidationError", "message": strings.Repeat("x", 270) + canaryToken,
	}})
	require.NoError(t, err)
	for _, body := range []string{string(said), string(echo)} {
		client := mustClient(t, Config{BaseURL: serve(t, answer{status: 400, body: body}).URL})
		_, err = getDocument(t.Context(), client)
		e := requireError(t, err)
		require.Equal(t, Rejected, e.Kind)
		require.LessOrEqual(t, len(e.Message), maxMessage+len("…"))
		require.NotContains(t, e.Message, canaryToken[:10])
		require.NotContains(t, e.Message, "\x1b")
	}
	short := mustClient(t, Config{BaseURL: serve(t, answer{status: 400, body: validationAnswer}).URL, Token: "e"})
	_, err = getDocument(t.Context(), short)
	require.Equal(t, "ValidationError: Invalid key nme", requireError(t, err).Message, "no word is hidden for a token of one letter")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Redirects stay refused whatever transport makes the requests.
func TestClient_OwnTransport(t *testing.T) {
	t.Parallel()
	asked := 0
	client := mustClient(t, Config{BaseURL: "http://strapi.test", Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		asked++
		return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"http://169.254.169.254/"}}, Body: http.NoBody}, nil
	})})

	_, err := getDocument(t.Context(), client)

	require.Equal(t, Blocked, requireError(t, err).Kind)
	require.Equal(t, 1, asked)
}

func TestClient_KeepsConnections(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	opened := 0
	server := httptest.NewUnstartedServer(answer{status: 200, body: dealAnswer})
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			mu.Lock()
			defer mu.Unlock()
			opened++
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	client := mustClient(t, Config{BaseURL: server.URL})
	for range 20 {
		_, err := getDocument(t.Context(), client)
		require.NoError(t, err)
	}
	mu.Lock()
	defer mu.Unlock()
	// More than one after a stall: the transport closes what it does not use for a while.
	require.Less(t, opened, 20)
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config Config
		text   string
	}{
		"NoURL":           {Config{}, "must begin with http"},
		"NoScheme":        {Config{BaseURL: "canary.example.com"}, "must begin with http"},
		"HostPort":        {Config{BaseURL: "canary:1337"}, "cannot be read"},
		"OtherScheme":     {Config{BaseURL: "ftp://canary"}, "must begin with http"},
		"NoHost":          {Config{BaseURL: "http:///canary"}, "has no host"},
		"OnlyPort":        {Config{BaseURL: "http://:1337"}, "has no host"},
		"Control":         {Config{BaseURL: "http://canary\n"}, "cannot be read"},
		"BadEscape":       {Config{BaseURL: "http://user:canary@x/%zz"}, "cannot be read"},
		"UserInfo":        {Config{BaseURL: "http://user:canary@x"}, "must not hold a user or password"},
		"OnlyUser":        {Config{BaseURL: "http://canary@x"}, "must not hold a user or password"},
		"Query":           {Config{BaseURL: "http://x?token=canary"}, "must not have a query"},
		"Fragment":        {Config{BaseURL: "http://x#canary"}, "must not have a query or a fragment"},
		"NoToken":         {Config{BaseURL: "http://x"}, "token is empty or"},
		"TokenNewline":    {Config{BaseURL: "http://x", Token: "canary\n"}, "token is empty or"},
		"NegativeTimeout": {Config{BaseURL: "http://x", Token: "canary", Timeout: -1}, "must not be negative"},
		"NegativeLimit":   {Config{BaseURL: "http://x", Token: "canary", MaxBytes: -1}, "must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(c.config)
			require.ErrorContains(t, err, c.text)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestContentType_Field(t *testing.T) {
	t.Parallel()
	c := ContentType{Fields: map[string]string{"status": "deal_status", "owner": ""}}
	require.Equal(t, "deal_status", c.Field("status"))
	require.Empty(t, c.Field("owner"))
	require.Equal(t, "stage", c.Field("stage"))
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	require.Empty(t, KindOf(nil))
	require.Empty(t, KindOf(errors.New("x")))
	require.Equal(t, Refused, KindOf(errors.Join(errors.New("x"), &Error{Kind: Refused})))
}
