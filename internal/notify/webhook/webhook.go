// Package webhook sends notifications by HTTP: as documented JSON, as text for Slack
// and those compatible with it, or as a card for Microsoft Teams.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/httpclient"
	"dealbox/internal/notify"
	"dealbox/internal/webhooksig"
)

const (
	// defaultTimeout bounds one attempt, from the look-up of the name to the last
	// byte of the answer.
	defaultTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 4 << 10
	// maxAnswerHeader bounds the header of an answer, in bytes (Go's default is 10 MiB).
	maxAnswerHeader = 64 << 10
)

// Format is the body of a webhook.
type Format string

// The formats.
const (
	// Standard is a documented JSON with all that is known of the alert.
	Standard Format = "standard"
	// Slack is {"text": …}, which Slack and those compatible with it show.
	Slack Format = "slack"
	// Teams is an Adaptive Card, as a workflow of Microsoft Teams takes it that "posts to
	// a channel when a webhook request is received".
	Teams Format = "teams"
)

// Config of a Client.
type Config struct {
	// URL is posted to as it stands; http and https. It may hold secrets in its
	// user, path and query: none of them is ever shown.
	URL string
	// Secret signs each request with Standard Webhooks headers; "" sends them
	// unsigned. `whsec_…` is base64, anything else raw bytes.
	Secret string
	Format Format // "" means Standard
	// Timeout bounds one attempt. 0 means 10 s.
	Timeout time.Duration
	// UserAgent of the requests. "" means Dealbox.
	UserAgent string
}

// Client posts each notification to one URL.
//
// It goes where the operator said, and nowhere else: a private or a loopback
// address is fine because the operator wrote that very URL, and an answer that
// redirects is a failure, never followed, so no receiver can point it elsewhere.
type Client struct {
	config Config
	http   *http.Client
	// origin is the scheme and host of the URL: what may be shown of it.
	origin string
	// private is, in lower case, what may not be.
	private string
}

// New returns a Client, or what is wrong with the settings. Its errors never hold
// the URL or the secret.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("the alert webhook's URL must be http://host… or https://host…")
	}
	if c.Format == "" {
		c.Format = Standard
	}
	if c.Format != Standard && c.Format != Slack && c.Format != Teams {
		return nil, fmt.Errorf("the alert webhook's format %q is unknown; known are %s, %s and %s", c.Format, Standard, Slack, Teams)
	}
	if c.Secret != "" {
		if _, err := webhooksig.ParseSecret(c.Secret); err != nil {
			return nil, fmt.Errorf("the alert webhook's secret: %w", err)
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "Dealbox"
	}
	query, _ := url.QueryUnescape(u.RawQuery)
	password, _ := u.User.Password()
	return &Client{
		config: c, http: newHTTPClient(), origin: u.Scheme + "://" + u.Host,
		private: strings.ToLower(strings.Join([]string{c.URL, u.Path, query, u.User.Username(), password, c.Secret}, " ")),
	}, nil
}

func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxAnswerHeader
	return httpclient.New(transport)
}

// Notify posts one notification; see notify.Channel. Only a 2xx counts as sent.
// No answer, 408, 429 and 5xx are worth another attempt; any other answer is final.
func (c *Client) Notify(ctx context.Context, m notify.Message) (retry bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, &notify.SendError{
		Text: c.origin + " did not answer within " + c.config.Timeout.String() + ", the limit for one attempt",
	})
	defer cancel()
	req, err := c.request(ctx, m, time.Now())
	if err != nil {
		return false, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return true, c.noAnswer(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	// Read so that the connection can be used again. The status has decided
	// already: an answer that breaks off here changes nothing.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return c.classify(resp, body)
}

func (c *Client) request(ctx context.Context, m notify.Message, now time.Time) (*http.Request, error) {
	body, err := c.body(m)
	if err != nil {
		return nil, fmt.Errorf("write the body of notification %d: %w", m.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the alert webhook's URL cannot be used") // Theirs would show it.
	}
	req.Header, err = c.header(m, body, now)
	return req, err
}

func (c *Client) body(m notify.Message) ([]byte, error) {
	switch c.config.Format {
	case Slack:
		return slackBody(m)
	case Teams:
		return teamsBody(m)
	}
	return standardBody(m)
}

// header signs the body as Standard Webhooks does (github.com/standard-webhooks).
// The id is there unsigned too, so that every receiver can drop a duplicate.
func (c *Client) header(m notify.Message, body []byte, now time.Time) (http.Header, error) {
	id := "ntf_" + strconv.FormatInt(m.ID, 10)
	h := http.Header{}
	if c.config.Secret != "" {
		var err error
		if h, err = webhooksig.Sign(webhooksig.SchemeStandard, c.config.Secret, id, now, body); err != nil {
			return nil, fmt.Errorf("sign notification %d: %w", m.ID, err)
		}
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", c.config.UserAgent)
	return h, nil
}
