package httpapi

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
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
	limit := a.config.MaxBody
	if 0 <= r.ContentLength && r.ContentLength <= int64(min(freeBytes, limit)) {
		d.Body, err = readSmall(r, signed)
	} else {
		d.Body, d.Large, err = readParts(http.MaxBytesReader(w, r.Body, maxVerified), limit, signed, held)
	}
	if err != nil {
		return inbox.Delivery{}, nil, err
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

// readSmall returns a body whose length is known. It is in a slice of its own: Receive
// keeps it.
func readSmall(r *http.Request, signed *webhooksig.Body) ([]byte, error) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil { // net/http reads no more than that
		return nil, unreadable(err)
	}
	_, _ = signed.Write(body) // it cannot fail
	return body, nil
}

// readParts returns a body of up to limit bytes in a slice of its own, and of a larger one
// what names its document.
func readParts(rest io.Reader, limit int, signed *webhooksig.Body, held *share) ([]byte, *inbox.Large, error) {
	p := &parts{held: held}
	defer p.release()
	rest = io.TeeReader(rest, signed)
	end, err := p.read(rest, limit)
	switch {
	case err != nil:
		return nil, nil, err
	case end:
		return p.join(), nil, nil
	}
	large, err := readLarge(p, rest)
	return nil, large, err
}

// readLarge reads a body that is too large to be stored, and keeps what names the
// document. p is its beginning.
func readLarge(p *parts, rest io.Reader) (*inbox.Large, error) {
	envelope, digest := &strapi.LargeEnvelope{}, sha256.New()
	all := io.MultiWriter(digest, envelope) // neither fails
	n := p.size
	for _, part := range p.filled() {
		_, _ = all.Write(part)
	}
	p.release()
	p.held.giveBack()
	if !p.held.take(strapi.MaxLargeKept) {
		return nil, errTooMuch
	}
	more, err := io.CopyBuffer(all, rest, make([]byte, 32<<10))
	if err != nil {
		return nil, unreadable(err)
	}
	large := &inbox.Large{Bytes: n + int(more), SHA256: [sha256.Size]byte(digest.Sum(nil))}
	large.Envelope, large.Err = envelope.Envelope()
	return large, nil
}

// errTooMuch is the answer to a large body while others take up the budget.
var errTooMuch = &Error{
	Status: http.StatusServiceUnavailable, Code: "too_many_large_bodies",
	Message: "too many large bodies are under way; send it again",
}

// parts is a body as it arrives. It grows as bytes come, so that a stranger cannot reserve
// memory with a header, and by parts that are used again, so that it leaves no garbage.
type parts struct {
	held *share
	all  []*part
	size int
}

type part [freeBytes]byte

var freeParts = sync.Pool{New: func() any { return new(part) }}

// read reads to the body's end, or past limit, and reports which. The first part counts in
// no budget.
func (p *parts) read(rest io.Reader, limit int) (end bool, err error) {
	for p.size <= limit {
		if p.size == len(p.all)*freeBytes {
			if len(p.all) > 0 && !p.held.take(freeBytes) {
				return false, errTooMuch
			}
			p.all = append(p.all, freeParts.Get().(*part))
		}
		n, err := rest.Read(p.all[len(p.all)-1][p.size%freeBytes:])
		p.size += n
		if errors.Is(err, io.EOF) {
			return p.size <= limit, nil
		}
		if err != nil {
			return false, unreadable(err)
		}
	}
	return false, nil
}

// filled returns the bytes that were read.
func (p *parts) filled() [][]byte {
	var all [][]byte
	for left, i := p.size, 0; left > 0; i++ {
		n := min(left, freeBytes)
		all = append(all, p.all[i][:n])
		left -= n
	}
	return all
}

func (p *parts) join() []byte { return slices.Concat(p.filled()...) }

func (p *parts) release() {
	for _, one := range p.all {
		freeParts.Put(one)
	}
	p.all, p.size = nil, 0
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
