package email

import (
	"context"
	"errors"
	"net/textproto"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// maxWords bounds what is kept of the server's words, in bytes.
const maxWords = 250

// classify returns a failure in words, and whether another attempt may help. It
// wraps nothing: what it shows holds neither password nor mail.
func (c *Client) classify(ctx context.Context, err error) (retry bool, _ error) {
	if ended := notify.Ended(ctx); ended != nil {
		return true, ended
	}
	var (
		sending *gomail.SendError
		answer  *textproto.Error
	)
	switch {
	case errors.As(err, &sending):
		// From MAIL FROM on the server's words are about the receiver. Without a code
		// the connection broke off.
		words, _, _ := strings.Cut(sending.Error(), ", affected message ID")
		return sending.ErrorCode() < 500, &notify.SendError{Text: c.server + ": " + text.Line(words, maxWords)}
	case errors.As(err, &answer):
		// The greeting, EHLO, STARTTLS, AUTH. The server's words may repeat what it was
		// sent, so the code has to do.
		return answer.Code < 500, &notify.SendError{Text: c.server + " answered " + strconv.Itoa(answer.Code) + explain(answer.Code)}
	}
	if words, ok := notify.NetworkFailure(err); ok {
		return true, &notify.SendError{Text: "no answer from " + c.server + ": " + words}
	}
	return false, &notify.SendError{Text: c.server + " cannot be used: " + text.Line(err.Error(), maxWords)}
}

// explain returns what a code says about the settings (RFC 4954, RFC 5321); "" for
// every other code.
func explain(code int) string {
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
