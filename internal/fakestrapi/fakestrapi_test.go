package fakestrapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const token = "the-api-token"

// clock goes on by 20 ms with each call, so that no two moments are the same and
// their order is the order of the code.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(20 * time.Millisecond)
	return c.now
}

// received is a delivery as the receiver saw it.
type received struct {
	header http.Header
	length int64
	method string
	body   []byte
	event  string
}

// receiver is an endpoint for webhooks.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer http.HandlerFunc // nil: 202
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, received{req.Header, req.ContentLength, req.Method, body, req.Header.Get("X-Strapi-Event")})
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(w, req)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// take returns the deliveries since the last take.
func (r *receiver) take() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// rig is a fake Strapi on a port, with a receiver for its webhooks.
type rig struct {
	*Strapi
	t        *testing.T
	url      string
	receiver *receiver
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := newReceiver(t, nil)
	c := Config{
		Types: PipelineTypes(false, false), Token: token, Overtake: -1, Seed: 1,
		Webhooks: []Webhook{{URL: r.URL + "/hook"}},
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	require.NoError(t, err)
	server, err := s.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close(context.Background()))
		require.NoError(t, s.Close())
	})
	return &rig{Strapi: s, t: t, url: server.URL, receiver: r}
}

// answered is an answer of the REST API.
type answered struct {
	status int
	header http.Header
	body   string
}

func (r *rig) call(method, path, body string) answered {
	r.t.Helper()
	a, err := r.try(method, path, body, token)
	require.NoError(r.t, err)
	return a
}

func (r *rig) get(path string) answered { r.t.Helper(); return r.call(http.MethodGet, path, "") }

func (r *rig) try(method, path, body, token string) (answered, error) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewBufferString(body))
	require.NoError(r.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(b)}, err
}

// drain waits for the webhooks and returns what came since the last time.
func (r *rig) drain() []received {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(r.t, r.Webhooks.Drain(ctx))
	return r.receiver.take()
}

func (r *rig) mustCreate(uid string, v Values) Entry {
	r.t.Helper()
	e, err := r.Create(uid, v)
	require.NoError(r.t, err)
	return e
}

func (r *rig) mustGet(uid, id string) Entry {
	r.t.Helper()
	e, ok := r.Get(uid, id, "published")
	require.True(r.t, ok, "%s %s is not published", uid, id)
	return e
}

// events returns the events of the deliveries.
func events(all []received) []string {
	names := make([]string, 0, len(all))
	for _, d := range all {
		names = append(names, d.event)
	}
	return names
}

// entryOf returns a delivery's entry.
func entryOf(t *testing.T, d received) map[string]any {
	t.Helper()
	var envelope struct {
		Entry map[string]any `json:"entry"`
	}
	require.NoError(t, json.Unmarshal(d.body, &envelope))
	return envelope.Entry
}

// listed returns the documentIds of a list answer.
func listed(t *testing.T, a answered) []string {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, a.body)
	var list struct {
		Data []struct {
			DocumentID string `json:"documentId"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &list))
	ids := []string{}
	for _, d := range list.Data {
		ids = append(ids, d.DocumentID)
	}
	return ids
}
