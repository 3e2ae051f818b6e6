package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sendError is a failed attempt, in words that hold nothing of the channel's
// address beyond scheme and host. It wraps nothing: an error of net/http holds
// the whole URL.
type sendError struct {
	text       string
	retryAfter time.Duration // what the receiver asked for; 0 when it did not
}

func (e *sendError) Error() string { return e.text }

// judge tells from an answer whether the message is sent, and if not, whether
// to try again.
func (w *Webhook) judge(resp *http.Response, body []byte) (retry bool, err error) {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return false, nil
	}
	text := w.origin + " answered " + strconv.Itoa(status) + " " + http.StatusText(status)
	if code := w.code(body); code != "" {
		text += " (" + code + ")"
	}
	if status >= 300 && status < 400 {
		text += ": a redirect, which is never followed; set the webhook's URL to its final address"
	}
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return true, &sendError{text: text, retryAfter: retryAfter(resp.Header, time.Now())}
	default:
		return false, &sendError{text: text}
	}
}

// slackCode is how Slack says in a body what is wrong: channel_is_archived.
var slackCode = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// code is the body when it is such a word. Nothing else of a body is ever
// shown: error pages like to repeat the path, which can be the secret.
func (w *Webhook) code(body []byte) string {
	word := strings.TrimSpace(string(body))
	if len(word) > 60 || !slackCode.MatchString(word) || strings.Contains(w.private, word) {
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

func (w *Webhook) timedOut() *sendError {
	return &sendError{text: w.origin + " did not answer within " + w.config.Timeout.String() + ", the limit for one attempt"}
}

// noAnswer tells the limit of this attempt from a caller that gave up, and both
// from a network that failed. A dial that meets the deadline can return a moment
// before the context knows it.
func (w *Webhook) noAnswer(ctx context.Context, err error) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	return &sendError{text: "no answer from " + w.origin + ": " + cause(err)}
}

// cause says in words what net/http met. Only errors that are known to hold
// addresses at most are quoted: others may repeat what the receiver sent, and a
// receiver can echo the path.
func cause(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // Without the URL.
	}
	if text, ok := networkCause(err); ok {
		return text
	}
	return "what came back was not an HTTP answer"
}

// networkCause says what a connection met, if that is what err is about.
func networkCause(err error) (string, bool) {
	var (
		network *net.OpError
		lookup  *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &network):
		return network.Error(), true
	case errors.As(err, &lookup):
		return lookup.Error(), true
	case errors.As(err, &cert):
		return cert.Error(), true
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS on that port; should the URL begin with http:// or smtp:// ?", true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "the connection was closed before an answer came", true
	}
	return "", false
}
