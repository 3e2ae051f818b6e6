package httpapi

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"

	"dealbox/internal/inbox"
	"dealbox/internal/webhooksig"
)

const (
	// freeBytes of each body count in no budget: Strapi's usual bodies of 1–4 kB are
	// taken however many large ones are under way.
	freeBytes = 16 << 10
	// bodyBudget bounds the bytes beyond freeBytes that all deliveries hold together, from
	// their first byte to their commit.
	bodyBudget = 64 << 20
	// maxUnread bounds what is read of a body after its answer, in bytes.
	maxUnread = 16 << 20
)

// readDelivery reads and verifies a delivery. Call done when its bytes are not needed
// any more.
func (a *API) readDelivery(w http.ResponseWriter, r *http.Request, signed *webhooksig.Body) (d inbox.Delivery, done func(), err error) {
	held := &share{of: &a.bodies}
	body, err := readBody(w, r, held)
	if err != nil {
		held.giveBack()
		return inbox.Delivery{}, nil, err
	}
	_, _ = signed.Write(body) // it cannot fail
	verified, err := signed.End()
	if err != nil {
		held.giveBack()
		a.signatures.refused(err, r.Header)
		return inbox.Delivery{}, nil, err
	}
	a.signatures.accepted()
	return inbox.Delivery{Scheme: verified.Scheme, ID: verified.DeliveryID, Body: body}, held.giveBack, nil
}

// readBody returns the body, of at most maxBody bytes, in a slice of its own:
// Receive keeps it. It trusts Content-Length only up to freeBytes, so that a stranger
// cannot reserve memory with a header.
func readBody(w http.ResponseWriter, r *http.Request, held *share) ([]byte, error) {
	if 0 <= r.ContentLength && r.ContentLength <= freeBytes { // net/http reads no more than that
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, unreadable(err)
	}
	rest := http.MaxBytesReader(w, r.Body, maxBody)
	body := make([]byte, 0, freeBytes)
	for {
		n, err := rest.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if len(body) < cap(body) {
			continue
		}
		if !held.take(int64(len(body))) { // it doubles
			return nil, &Error{
				Status: http.StatusServiceUnavailable, Code: "too_many_large_bodies",
				Message: "too many large bodies are under way; send it again",
			}
		}
		body = slices.Grow(body, len(body))
	}
}

// budget bounds bytes over all requests.
type budget struct {
	used  atomic.Int64
	limit int64
}

// share is what one request holds of a budget.
type share struct {
	of   *budget
	held int64
}

// take reports whether n more bytes may be held.
func (s *share) take(n int64) bool {
	if s.of.used.Add(n) > s.of.limit {
		s.of.used.Add(-n)
		return false
	}
	s.held += n
	return true
}

func (s *share) giveBack() {
	s.of.used.Add(-s.held)
	s.held = 0
}

// failUnread answers a request whose body was not read to its end. It reads on for a
// while after the answer: a connection that is closed while the client still sends is
// reset, and then most clients never see the answer.
func (a *API) failUnread(w http.ResponseWriter, r *http.Request, err error) {
	control := http.NewResponseController(w)
	// Otherwise net/http reads 256 KiB of the body before it writes.
	_ = control.EnableFullDuplex()
	w.Header().Set("Connection", "close")
	a.fail(w, err)
	if r.Header.Get("Expect") != "" {
		return // the client has not begun to send
	}
	_ = control.Flush()
	_, _ = io.CopyN(io.Discard, r.Body, maxUnread)
}
