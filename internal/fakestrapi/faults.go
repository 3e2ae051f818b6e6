package fakestrapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind is a way in which the REST API fails.
type FaultKind string

// The faults. They act before the token is checked, as a proxy would.
const (
	// FaultDown closes the connection without an answer.
	FaultDown FaultKind = "down"
	// FaultStatus answers Fault.Status; without a Body with Strapi's error JSON.
	FaultStatus FaultKind = "status"
	// FaultHTML answers 200 with a web page.
	FaultHTML FaultKind = "html"
	// FaultTruncated answers 200 with the first half of the JSON, whole for HTTP.
	FaultTruncated FaultKind = "truncated"
	// FaultCut promises the whole answer and closes the connection half-way.
	FaultCut FaultKind = "cut"
	// FaultNullData answers 200 with {"data":null,"meta":{}}.
	FaultNullData FaultKind = "null-data"
	// FaultEmptyArray answers 200 with [].
	FaultEmptyArray FaultKind = "empty-array"
	// FaultSlow waits Fault.Delay, then answers normally.
	FaultSlow FaultKind = "slow"
	// FaultHang answers nothing until the fault is removed.
	FaultHang FaultKind = "hang"
	// FaultUnauthorized answers 401, as for a token that was rotated.
	FaultUnauthorized FaultKind = "unauthorized"
	// FaultForbidden answers 403, as for a token that lacks the permission; with an
	// Action, as for a custom token that lacks this one.
	FaultForbidden FaultKind = "forbidden"
	// FaultMissingRoute answers 404 for the collection and its documents, as for
	// a content type that is gone.
	FaultMissingRoute FaultKind = "missing-route"
	// FaultNotFound answers 404 for each document and leaves it out of lists,
	// well formed: as after the restore of an old backup.
	FaultNotFound FaultKind = "not-found"
)

// Fault is one fault and the requests that it concerns.
type Fault struct {
	Kind FaultKind
	// Plural and Documents narrow it down; empty: all. A fault of documents
	// concerns each request that names one of them, in its path or in its
	// documentId filter.
	Plural    string
	Documents []string
	// Action of the route, as Strapi's permissions name it: find, findOne, create,
	// update or delete.
	Action string
	// Times is how many requests it concerns before it goes away. Zero: all.
	Times int
	// Share of these requests that it concerns, by chance, such as 0.05. Zero: all.
	Share float64

	Status     int           // of FaultStatus
	Body       string        // of FaultStatus
	RetryAfter string        // of FaultStatus: that header, as it is
	Delay      time.Duration // of FaultSlow

	cleared <-chan struct{} // of FaultHang: closed when it is removed
}

// Faults makes the REST API fail. The first fault that concerns a request is
// the one that acts.
type Faults struct {
	mu      sync.Mutex
	active  []*Fault
	cleared chan struct{} // closed to let hanging requests go
}

func newFaults() *Faults { return &Faults{cleared: make(chan struct{})} }

// Set replaces all faults.
func (f *Faults) Set(faults ...Fault) {
	f.Clear()
	for _, fault := range faults {
		f.Add(fault)
	}
}

// Add adds a fault and returns the function that removes it.
func (f *Faults) Add(fault Fault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	added := &fault
	f.active = append(f.active, added)
	return func() { f.remove(added) }
}

// Clear removes all faults. Requests that hang lose their connection.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
	f.cutHanging()
}

func (f *Faults) remove(fault *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = slices.DeleteFunc(f.active, func(a *Fault) bool { return a == fault })
	if fault.Kind == FaultHang {
		f.cutHanging()
	}
}

// letHangingGo cuts off the requests that hang now.
func (f *Faults) letHangingGo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutHanging()
}

func (f *Faults) cutHanging() {
	close(f.cleared)
	f.cleared = make(chan struct{})
}

// match returns the fault that concerns a request; without one its Kind is empty.
func (f *Faults) match(q request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.active {
		if !fault.concerns(q) || fault.Share > 0 && rand.Float64() >= fault.Share {
			continue
		}
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.active = slices.Delete(f.active, i, i+1)
			}
		}
		hit := *fault
		hit.cleared = f.cleared
		return hit
	}
	return Fault{}
}

func (f *Fault) concerns(q request) bool {
	if f.Plural != "" && f.Plural != q.plural || f.Action != "" && f.Action != q.action() {
		return false
	}
	if len(f.Documents) == 0 {
		return true
	}
	if f.Kind == FaultNotFound && q.documentID == "" {
		return true // it leaves them out of every list
	}
	return slices.ContainsFunc(q.named, func(id string) bool { return slices.Contains(f.Documents, id) })
}

// before delays the answer. It reports false when there will be none.
func (f Fault) before(ctx context.Context) bool {
	switch f.Kind {
	case FaultDown:
		return false
	case FaultHang:
		select {
		case <-ctx.Done():
		case <-f.cleared:
		}
		return false
	case FaultSlow:
		return sleep(ctx, f.Delay)
	default:
		return true
	}
}

// instead returns the answer that takes the place of Strapi's.
func (f Fault) instead() (answer, bool) {
	switch f.Kind {
	case FaultStatus:
		return f.status(), true
	case FaultHTML:
		return answer{
			status: http.StatusOK, header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
			body: []byte("<!doctype html><html><head><title>Maintenance</title></head><body><h1>We'll be right back</h1></body></html>\n"),
		}, true
	case FaultNullData:
		return answer{status: http.StatusOK, body: []byte(`{"data":null,"meta":{}}`)}, true
	case FaultEmptyArray:
		return answer{status: http.StatusOK, body: []byte(`[]`)}, true
	case FaultUnauthorized:
		return unauthorized().answer(), true
	case FaultForbidden:
		return forbidden().answer(), true
	case FaultMissingRoute:
		return notFound().answer(), true
	default:
		return answer{}, false
	}
}

func (f Fault) status() answer {
	a := answer{status: f.Status, body: []byte(f.Body)}
	switch {
	case f.Body == "":
		name := strings.ReplaceAll(http.StatusText(f.Status), " ", "")
		a = (&Error{Status: f.Status, Name: strings.TrimSuffix(name, "Error") + "Error", Message: http.StatusText(f.Status)}).answer()
	case strings.HasPrefix(f.Body, "<"):
		a.header = http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	}
	if f.RetryAfter != "" {
		if a.header == nil {
			a.header = http.Header{}
		}
		a.header.Set("Retry-After", f.RetryAfter)
	}
	return a
}

// after returns Strapi's own answer with the fault in it.
func (f Fault) after(a answer) answer {
	switch {
	case len(a.body) == 0:
	case f.Kind == FaultTruncated:
		a.body = a.body[:len(a.body)/2]
	case f.Kind == FaultCut:
		a.abort, a.cut = true, len(a.body)/2
	}
	return a
}

func (f Fault) hides(documentID string) bool {
	return f.Kind == FaultNotFound && (len(f.Documents) == 0 || slices.Contains(f.Documents, documentID))
}

func (f Fault) hidesAll() bool { return f.Kind == FaultNotFound && len(f.Documents) == 0 }

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
