package httpapi

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"dealbox/internal/inbox"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

const (
	// freeBytes of each body count in no budget: Strapi's usual bodies of 1–4 kB are
	// taken however many large ones are under way.
	freeBytes = 16 << 10
	// bodyBudget bounds the bytes beyond freeBytes that all deliveries hold together, from
	// their first byte to their commit.
	bodyBudget = 64 << 20
	// maxStored is the largest body that is stored unless Config.MaxBody says otherwise.
	maxStored = 1 << 20
	// maxVerified is the largest body that is accepted, in bytes. A deal with 4,200 billings
	// is 1.5 MB.
	maxVerified = 16 << 20
	// maxUnread bounds what is read of a body after its answer, in bytes.
	maxUnread = 16 << 20
)

// readDelivery reads and verifies a delivery. Call done when its bytes are not needed
// any more.
func (a *API) readDelivery(w http.ResponseWriter, r *http.Request, signed *webhooksig.Body) (d inbox.Delivery, done func(), err error) {
	held := &share{of: &a.bodies}
	defer func() {
		if err != nil {
			held.giveBack()
		}
	}()
	rest := http.MaxBytesReader(w, r.Body, maxVerified)
	if d.Body, err = readStored(rest, r.ContentLength, a.config.MaxBody, held); err != nil {
		return inbox.Delivery{}, nil, err
	}
	if len(d.Body) <= a.config.MaxBody {
		_, _ = signed.Write(d.Body) // it cannot fail
	} else {
		head := d.Body
		d.Body = nil
		if d.Large, err = readLarge(head, rest, signed, held); err != nil {
			return inbox.Delivery{}, nil, err
		}
	}
	verified, err := signed.End()
	if err != nil {
		a.signatures.refused(err, r.Header)
		return inbox.Delivery{}, nil, err
	}
	a.signatures.accepted()
	if d.Large != nil {
		a.metrics.large.Inc()
	}
	d.Scheme, d.ID = verified.Scheme, verified.DeliveryID
	return d, held.giveBack, nil
}

// readStored returns the body in a slice of its own: Receive keeps it. Of a body that is
// larger than limit it returns the first limit+1 bytes. It trusts Content-Length only up
// to freeBytes, so that a stranger cannot reserve memory with a header.
func readStored(rest io.Reader, contentLength int64, limit int, held *share) ([]byte, error) {
	size := freeBytes
	if 0 <= contentLength && contentLength < freeBytes {
		size = int(contentLength) + 1 // one more, to see the end
	}
	body := make([]byte, 0, min(size, limit+1))
	for {
		n, err := rest.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, unreadable(err)
		case len(body) > limit:
			return body[:limit+1], nil
		case len(body) < cap(body):
			continue
		}
		more := min(len(body), limit+1-len(body))
		if !held.take(int64(more)) {
			return nil, errTooMuch
		}
		body = append(make([]byte, 0, len(body)+more), body...)
	}
}

// errTooMuch is the answer to a large body while others take up the budget.
var errTooMuch = &Error{
	Status: http.StatusServiceUnavailable, Code: "too_many_large_bodies",
	Message: "too many large bodies are under way; send it again",
}

// readLarge verifies a body that is too large to be stored while it streams. It keeps
// what names the document. head is its first bytes, which were read already.
func readLarge(head []byte, rest io.Reader, signed *webhooksig.Body, held *share) (*inbox.Large, error) {
	held.giveBack()
	if !held.take(strapi.MaxLargeKept) {
		return nil, errTooMuch
	}
	envelope, digest := &strapi.LargeEnvelope{}, sha256.New()
	all := io.MultiWriter(signed, digest, envelope)
	_, _ = all.Write(head) // none of them fails
	n, err := io.CopyBuffer(all, rest, make([]byte, 32<<10))
	if err != nil {
		return nil, unreadable(err)
	}
	large := &inbox.Large{Bytes: len(head) + int(n), SHA256: [sha256.Size]byte(digest.Sum(nil))}
	large.Envelope, large.Err = envelope.Envelope()
	return large, nil
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
