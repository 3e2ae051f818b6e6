package notify

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

	"dealbox/internal/webhooksig"
)

const (
	// defaultWebhookTimeout bounds one attempt, from the look-up of the name to
	// the last byte of the answer.
	defaultWebhookTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 4 << 10
	// maxAnswerHeader bounds the header of an answer, in bytes (Go's default is 10 MiB).
	maxAnswerHeader = 64 << 10
)

// Format is the body of a webhook.
type Format string

// The formats.
const (
	// FormatStandard is a documented JSON with all that is known of the alert.
	FormatStandard Format = "standard"
	// FormatSlack is {"text": …}, which Slack and those compatible with it show.
	FormatSlack Format = "slack"
)

// WebhookConfig of a Webhook.
type WebhookConfig struct {
	// URL is posted to as it stands; http and https. It may hold secrets in its
	// user, path and query: none of them is ever shown.
	URL string
	// Secret signs each request with Standard Webhooks headers; "" sends them
	// unsigned. `whsec_…` is base64, anything else raw bytes.
	Secret string
	Format Format // "" means FormatStandard
	// Timeout bounds one attempt. 0 means 10 s.
	Timeout time.Duration
	// UserAgent of the requests. "" means Dealbox.
	UserAgent string
}

// Webhook posts each message to one URL.
//
// It goes where the operator said, and nowhere else: a private or a loopback
// address is fine because the operator wrote that very URL, and an answer that
// redirects is a failure, never followed, so no receiver can point it elsewhere.
type Webhook struct {
	config WebhookConfig
	client *http.Client
	// origin is the scheme and host of the URL: what may be shown of it.
	origin string
	// private is, in lower case, what may not be.
	private string
}

// NewWebhook checks the settings. Its errors never hold the URL or the secret.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, errors.New("the alert webhook's URL must be http://host… or https://host…")
	}
	if c.Format == "" {
		c.Format = FormatStandard
	}
	if c.Format != FormatStandard && c.Format != FormatSlack {
		return nil, fmt.Errorf("the alert webhook's format %q is unknown; known are %s and %s", c.Format, FormatStandard, FormatSlack)
	}
	if c.Secret != "" {
		if _, err := webhooksig.ParseSecret(c.Secret); err != nil {
			return nil, fmt.Errorf("the alert webhook's secret: %w", err)
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultWebhookTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = "Dealbox"
	}
	query, _ := url.QueryUnescape(u.RawQuery)
	password, _ := u.User.Password()
	return &Webhook{
		config: c, client: newClient(), origin: u.Scheme + "://" + u.Host,
		private: strings.ToLower(strings.Join([]string{c.URL, u.Path, query, u.User.Username(), password, c.Secret}, " ")),
	}, nil
}

func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxAnswerHeader
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Notify posts the message; see Channel.Notify. Only a 2xx counts as sent. No
// answer, 408, 429 and 5xx are worth another attempt; any other answer is final.
func (w *Webhook) Notify(ctx context.Context, m Message) (retry bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.config.Timeout, w.timedOut())
	defer cancel()
	req, err := w.request(ctx, m, time.Now())
	if err != nil {
		return false, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return true, w.noAnswer(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	// Read so that the connection can be used again. The status has decided
	// already: an answer that breaks off here changes nothing.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return w.judge(resp, body)
}

func (w *Webhook) request(ctx context.Context, m Message, now time.Time) (*http.Request, error) {
	body, err := w.body(m)
	if err != nil {
		return nil, fmt.Errorf("write the body of notification %d: %w", m.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the alert webhook's URL cannot be used") // Theirs would show it.
	}
	req.Header, err = w.header(m, body, now)
	return req, err
}

// header signs the body as Standard Webhooks does (github.com/standard-webhooks).
// The id is there unsigned too, so that every receiver can drop a duplicate.
func (w *Webhook) header(m Message, body []byte, now time.Time) (http.Header, error) {
	id := "ntf_" + strconv.FormatInt(m.ID, 10)
	h := http.Header{}
	if w.config.Secret != "" {
		var err error
		if h, err = webhooksig.Sign(webhooksig.SchemeStandard, w.config.Secret, id, now, body); err != nil {
			return nil, fmt.Errorf("sign notification %d: %w", m.ID, err)
		}
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", w.config.UserAgent)
	return h, nil
}

func (w *Webhook) body(m Message) ([]byte, error) {
	if w.config.Format == FormatSlack {
		return slackBody(m)
	}
	return standardBody(m)
}
