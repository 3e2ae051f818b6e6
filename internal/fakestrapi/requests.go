package fakestrapi

import (
	"net/http"
	"sync"
)

// Counts is how often each kind of request came, failed ones included.
type Counts struct {
	Documents int // GET of one document
	Lists     int // GET of a collection, without the probes
	Probes    int // GET of a collection with pageSize 1 and no filter
	Writes    int // POST, PUT, DELETE
	Others    int // anything that is not a route
}

// Total returns the number of requests.
func (c Counts) Total() int { return c.Documents + c.Lists + c.Probes + c.Writes + c.Others }

// Gets returns the number of reads.
func (c Counts) Gets() int { return c.Documents + c.Lists + c.Probes }

// Requests counts the requests to the REST API.
type Requests struct {
	mu     sync.Mutex
	counts Counts
	// named counts GETs that named a document, in the path or in the filter.
	named map[string]int
}

func newRequests() *Requests { return &Requests{named: map[string]int{}} }

// Counts returns the counts since the start or the last Reset.
func (r *Requests) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Document returns how many GETs named a document, in the path or in a documentId filter.
func (r *Requests) Document(documentID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.named[documentID]
}

// Reset starts counting again.
func (r *Requests) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts, r.named = Counts{}, map[string]int{}
}

func (r *Requests) count(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !q.route:
		r.counts.Others++
	case q.method != http.MethodGet:
		r.counts.Writes++
	case q.documentID != "":
		r.counts.Documents++
	case q.isProbe():
		r.counts.Probes++
	default:
		r.counts.Lists++
	}
	if q.method == http.MethodGet {
		for _, id := range q.named {
			r.named[id]++
		}
	}
}

func (q request) isProbe() bool {
	size, _ := q.query.get("pagination").get("pageSize").value()
	return size == "1" && q.query.get("filters") == nil
}

// action returns the permission that a token needs for the request.
func (q request) action() string {
	switch {
	case q.method == http.MethodGet && q.documentID == "":
		return "find"
	case q.method == http.MethodGet:
		return "findOne"
	}
	return map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete"}[q.method]
}
