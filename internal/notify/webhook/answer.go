package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/notify"
)

// classify returns nil when the receiver took the notification, and else what it
// answered and whether another attempt may help.
func (c *Client) classify(resp *http.Response, body []byte) (retry bool, err error) {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return false, nil
	}
	text := c.origin + " answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	if code := c.slackCode(body); code != "" {
		text += " (" + code + ")"
	}
	if status >= 300 && status < 400 {
		text += ": a redirect, which is never followed; set the webhook's URL to its final address"
	}
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return true, &notify.SendError{Text: text, RetryAfter: retryAfter(resp.Header, time.Now())}
	default:
		return false, &notify.SendError{Text: text}
	}
}

// slackWord is how Slack says in a body what is wrong: channel_is_archived.
var slackWord = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// slackCode returns the body when it is such a word. Nothing else of a body is
// ever shown: error pages like to repeat the path, which can be the secret.
func (c *Client) slackCode(body []byte) string {
	word := strings.TrimSpace(string(body))
	if len(word) > 60 || !slackWord.MatchString(word) || strings.Contains(c.private, word) {
		return ""
	}
	return word
}

// retryAfter reads the header of RFC 9110 §10.2.3: seconds or a date. What
// cannot be read or lies in the past is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// noAnswer returns the cause that ended ctx (the limit of the attempt, or a caller
// that gave up), and else what the network met.
func (c *Client) noAnswer(ctx context.Context, err error) error {
	if ended := notify.Ended(ctx); ended != nil {
		return ended
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	text, ok := notify.NetworkFailure(err)
	if !ok {
		text = "what came back was not an HTTP answer"
	}
	return &notify.SendError{Text: "no answer from " + c.origin + ": " + text}
}
