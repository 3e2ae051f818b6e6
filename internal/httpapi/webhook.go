package httpapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"

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
	body, err := readBody(r)
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
	startJSON(w, http.StatusAccepted)
	_, _ = w.Write(appendReceipt(make([]byte, 0, 256), receipt))
	return nil
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
		return errTooLarge
	}
	return nil
}

var errTooLarge = &Error{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: "the body is over 1 MiB"}

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
// keeps it. The slice grows with what really arrives: a promised length costs
// a stranger nothing, so it is believed only up to 16 KiB.
func readBody(r *http.Request) ([]byte, error) {
	buf := make([]byte, 0, firstRead(r.ContentLength))
	for {
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > maxBody {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(2*cap(buf), maxBody+1))
			copy(grown, buf)
			buf = grown
		}
	}
}

func firstRead(length int64) int {
	const most = 16 << 10
	if length < 0 || length >= most {
		return most
	}
	return int(length) + 1 // one more, so that the end is seen without growing
}

func unreadable(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &Error{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: "the body did not arrive in time", cause: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: "unreadable_body", Message: "the body could not be read to its end", cause: err}
}

// appendReceipt writes the 202 by hand: encoding/json costs more than the
// rest of the handler.
func appendReceipt(b []byte, r inbox.Receipt) []byte {
	b = append(b, `{"status":"accepted","event_id":"`...)
	b = appendUUID(b, r.EventID)
	b = append(b, `","event":`...)
	b = appendString(b, r.Event)
	b = append(b, `,"entity":`...)
	b = appendString(b, r.Entity)
	b = append(b, `,"action":`...)
	b = appendString(b, string(r.Action))
	b = append(b, `,"duplicate":`...)
	b = strconv.AppendBool(b, r.Duplicate)
	return append(b, "}\n"...)
}

func appendUUID(b []byte, id uuid.UUID) []byte {
	for i, part := range [][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// appendString writes a JSON string; what a name in Strapi may hold needs no escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
