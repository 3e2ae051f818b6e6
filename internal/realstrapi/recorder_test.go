package realstrapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// delivery is a webhook that Strapi sent.
type delivery struct {
	at     time.Time
	header http.Header
	body   string
	status int // of Dealbox's answer; 0: none yet; away: Dealbox was not there
}

const away = -1

// recorder stands between Strapi and Dealbox: it notes each delivery and hands it
// on unchanged. Without a target it answers 202 itself.
type recorder struct {
	*httptest.Server

	mu     sync.Mutex
	target string
	got    []delivery
	hold   chan struct{} // not nil: deliveries wait until it is closed

	// patient hands a delivery on again that Dealbox answers 503, as it does on a busy machine.
	patient atomic.Bool
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.resume()
		r.Close()
	})
	return r
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // Strapi was killed while it sent
	}
	r.mu.Lock()
	n := len(r.got)
	r.got = append(r.got, delivery{at: time.Now(), header: request.Header.Clone(), body: string(body)})
	target, hold := r.target, r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	status, answer := http.StatusAccepted, []byte("{}")
	if target != "" {
		status, answer = forward(target, request, body)
		for end := time.Now().Add(time.Minute); status == http.StatusServiceUnavailable && r.patient.Load() && time.Now().Before(end); {
			<-time.After(100 * time.Millisecond)
			status, answer = forward(target, request, body)
		}
	}
	r.mu.Lock()
	r.got[n].status = status
	r.mu.Unlock()
	if status == away {
		panic(http.ErrAbortHandler) // to Strapi the connection breaks, too
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func forward(target string, from *http.Request, body []byte) (status int, answer []byte) {
	request, err := http.NewRequest(from.Method, target+from.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return away, nil
	}
	request.Header = from.Header.Clone()
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return away, nil
	}
	defer func() { _ = response.Body.Close() }()
	answer, _ = io.ReadAll(response.Body)
	return response.StatusCode, answer
}

// to makes it hand deliveries on to an address.
func (r *recorder) to(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
}

// holdBack makes deliveries wait until resume.
func (r *recorder) holdBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = make(chan struct{})
}

func (r *recorder) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold != nil {
		close(r.hold)
		r.hold = nil
	}
}

// answered returns the deliveries from the given number on, each once however often it
// was sent, when there are want of them and all have their answer.
func (r *recorder) answered(t *testing.T, from, want int) (all []delivery) {
	t.Helper()
	require.Eventually(t, func() bool {
		sent := r.since(from)
		if slices.ContainsFunc(sent, func(d delivery) bool { return d.status == 0 }) {
			return false
		}
		all = once(sent)
		return len(all) >= want
	}, 4*time.Minute, 10*time.Millisecond, "Strapi did not send what it should")
	return all
}

// once leaves out what the plugin sent again: it keeps its webhook-id.
func once(deliveries []delivery) []delivery {
	seen := map[string]bool{}
	return slices.DeleteFunc(deliveries, func(d delivery) bool {
		id := d.header.Get("webhook-id")
		again := seen[id]
		seen[id] = id != ""
		return again
	})
}

// lost counts the deliveries from the given number on that Dealbox never took.
// One that is sent again keeps its webhook-id.
func (r *recorder) lost(from int) (lost, sent int) {
	taken := map[string]bool{}
	for i, d := range r.since(from) {
		id := d.header.Get("webhook-id")
		if id == "" {
			id = strconv.Itoa(i)
		}
		taken[id] = taken[id] || d.status == http.StatusAccepted
	}
	for _, ok := range taken {
		if !ok {
			lost++
		}
	}
	return lost, len(taken)
}

func (r *recorder) since(from int) []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery(nil), r.got[from:]...)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// What a busy Dealbox refuses arrives all the same, and what the plugin sends again is one delivery.
func TestRecorder_Patient(t *testing.T) {
	t.Parallel()
	asked := 0
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(busy.Close)
	r := newRecorder(t)
	r.to(busy.URL)
	r.patient.Store(true)
	for _, id := range []string{"msg_1", "msg_1", "msg_2", "", ""} { // a stock Strapi gives none
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("webhook-id", id)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusAccepted, response.StatusCode)
	}
	require.Equal(t, 7, asked)
	require.Len(t, r.answered(t, 0, 4), 4)
}
