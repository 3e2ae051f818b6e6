package notify

import (
	"context"
	"errors"
	"net/textproto"
	"strconv"

	"dealbox/internal/text"
)

// stepError is a step of handing over a mail that failed.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func (e *Email) timedOut() *SendError {
	return &SendError{Text: e.server + " did not take the mail within " + e.config.Timeout.String() + ", the limit for one attempt"}
}

// judge tells from a failure whether to try again. Like Webhook.judge it wraps
// nothing: what it shows holds neither password nor message.
func (e *Email) judge(ctx context.Context, err error) (retry bool, _ error) {
	if ended := Ended(ctx); ended != nil {
		return true, ended
	}
	var (
		step   *stepError
		answer *textproto.Error
	)
	if errors.As(err, &step) {
		// Without an answer the connection broke off.
		final := errors.As(err, &answer) && answer.Code >= 500
		return !final, &SendError{Text: e.server + ": " + text.Line(step.Error(), maxLastError/2)}
	}
	if errors.As(err, &answer) {
		// Before the mail: the greeting, EHLO, STARTTLS, AUTH. The server's words may
		// repeat what it was sent, so the code has to do.
		return answer.Code < 500, &SendError{Text: e.server + " answered " + strconv.Itoa(answer.Code) + phase(answer.Code)}
	}
	if text, ok := NetworkFailure(err); ok {
		return true, &SendError{Text: "no answer from " + e.server + ": " + text}
	}
	return false, &SendError{Text: e.server + " cannot be used: " + text.Line(err.Error(), maxLastError/2)}
}

// phase explains the codes that speak about the settings (RFC 4954, RFC 5321).
func phase(code int) string {
	switch code {
	case 530:
		return ": it wants user and password, or TLS"
	case 534, 535:
		return ": it refuses user or password"
	case 421:
		return ": it is not available at the moment"
	}
	return ""
}
