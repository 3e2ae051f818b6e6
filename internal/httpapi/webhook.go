package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"

	"github.com/google/uuid"

	"dealbox/internal/inbox"
)

// receiveWebhook answers POST /api/v1/webhooks/strapi: 202 once the delivery
// is committed, never before. The checks run from cheap to dear, and nothing
// before Receive touches the database.
func (a *API) receiveWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := checkHead(r); err != nil {
		// The body is unread; do not read it only to keep the connection.
		w.Header().Set("Connection", "close")
		return err
	}
	body, err := readBody(w, r)
	if err != nil {
		w.Header().Set("Connection", "close")
		return err
	}
	verified, err := a.stages.Verifier.Verify(r.Header, body)
	if err != nil {
		a.signatures.refused(err, r.Header)
		return err
	}
	a.signatures.accepted()
	receipt, err := a.commit(r.Context(), inbox.Delivery{Scheme: verified.Scheme, ID: verified.DeliveryID, Body: body})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, receiptAnswer{
		"accepted", receipt.EventID, receipt.Event, receipt.Entity, receipt.Action, receipt.Duplicate,
	})
}

// commit hands the delivery over, and bounds the wait. It goes on when the
// sender hangs up: Strapi never sends twice, so what has arrived is kept. (The
// body's deadline also ends the request's context, and is still running.)
func (a *API) commit(ctx context.Context, d inbox.Delivery) (inbox.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.CommitTimeout)
	defer cancel()
	receipt, err := a.stages.Receive(ctx, d)
	if err != nil {
		return inbox.Receipt{}, &Error{
			Status: http.StatusServiceUnavailable, Code: "not_committed",
			Message: "the delivery could not be committed; send it again", cause: err,
		}
	}
	return receipt, nil
}

// checkHead makes the checks that need no body: type, encoding, sizes.
func checkHead(r *http.Request) error {
	if !isJSON(r.Header.Get("Content-Type")) {
		return &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "Content-Type must be application/json"}
	}
	if len(r.Header["Content-Encoding"]) > 0 {
		return &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Message: "an encoded body is not accepted: signatures are over the plain bytes"}
	}
	if headerBytes(r.Header) > maxHeaders {
		return &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Code: "headers_too_large", Message: "the headers are over 16 KiB"}
	}
	if r.ContentLength > maxBody {
		return tooLarge(maxBody)
	}
	return nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true // what Strapi sends
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

func headerBytes(h http.Header) int {
	n := 0
	for name, values := range h {
		for _, value := range values {
			n += len(name) + len(value) + len(": \r\n")
		}
	}
	return n
}

// readBody reads at most maxBody bytes into a slice of its own, since Receive
// keeps it. A promised length is believed only up to 16 KiB, so it costs a stranger
// nothing.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	const most = 16 << 10
	if 0 <= r.ContentLength && r.ContentLength <= most { // net/http reads no more than that
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, unreadable(err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	return body, unreadable(err)
}

// unreadable is the answer to a body that could not be read; nil when err is nil.
func unreadable(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: "the body did not arrive in time", cause: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: "unreadable_body", Message: "the body could not be read to its end", cause: err}
}

func tooLarge(limit int64) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("the body is over %d bytes", limit)}
}

type receiptAnswer struct {
	Status    string       `json:"status"`
	EventID   uuid.UUID    `json:"event_id"`
	Event     string       `json:"event"`
	Entity    string       `json:"entity"`
	Action    inbox.Action `json:"action"`
	Duplicate bool         `json:"duplicate"`
}
