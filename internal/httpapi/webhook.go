package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"dealbox/internal/inbox"
	"dealbox/internal/webhooksig"
)

// signed calls next with the delivery only if its signature is valid. The checks
// run from cheap to expensive, and none of them uses the database. What the headers
// alone decide is answered before the body is read.
func (a *API) signed(next func(http.ResponseWriter, *http.Request, inbox.Delivery) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := checkHead(r); err != nil {
			a.failUnread(w, r, err)
			return nil
		}
		body, err := a.stages.Verifier.Begin(r.Header)
		if err != nil {
			a.signatures.refused(err, r.Header)
			a.failUnread(w, r, err)
			return nil
		}
		delivery, done, err := a.readDelivery(w, r, body)
		var unauthentic *webhooksig.SignatureError
		switch {
		case errors.As(err, &unauthentic):
			return err
		case err != nil:
			a.failUnread(w, r, err)
			return nil
		}
		defer done()
		return next(w, r, delivery)
	}
}

// checkHead checks what needs no body: type, encoding, sizes.
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
	if r.ContentLength > maxVerified {
		return tooLarge(maxVerified)
	}
	return nil
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

// receiveWebhook serves POST /api/v1/webhooks/strapi: 202 once the delivery is
// committed, never before.
func (a *API) receiveWebhook(w http.ResponseWriter, r *http.Request, d inbox.Delivery) error {
	receipt, err := a.commit(r.Context(), d)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, receiptAnswer{
		"accepted", receipt.EventID, receipt.Event, receipt.Entity, receipt.Action, receipt.Duplicate,
	})
}

// commit waits at most CommitTimeout for the delivery's commit. It does not stop
// when the client disconnects: Strapi never sends twice, so what has arrived is
// kept. (The body's deadline is still running, and it too would end the request's
// context.)
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

type receiptAnswer struct {
	Status    string       `json:"status"`
	EventID   uuid.UUID    `json:"event_id"`
	Event     string       `json:"event"`
	Entity    string       `json:"entity"`
	Action    inbox.Action `json:"action"`
	Duplicate bool         `json:"duplicate"`
}
