package app

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

// monitor is what waits for the heartbeat; its answer can be changed.
type monitor struct {
	*httptest.Server
	beats  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func newMonitor(t *testing.T) *monitor {
	t.Helper()
	m := &monitor{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/ping/"+canary {
			m.beats.Add(1)
		}
		if answer := m.answer.Load(); answer != nil {
			(*answer)(w, r)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *monitor) url() Secret { return Secret(m.URL + "/ping/" + canary) }

func (m *monitor) answers(h http.HandlerFunc) { m.answer.Store(&h) }

func TestHeartbeat_Run(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	var out sharedLog
	h := newHeartbeat(m.url(), mustOpen(t, pgtest.URL(t), CommandPool), slog.New(slog.NewTextHandler(&out, nil)))
	h.every = time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); h.run(ctx) }()
	beats := func() {
		t.Helper()
		before := m.beats.Load()
		require.Eventually(t, func() bool { return m.beats.Load() > before+3 }, time.Minute, time.Millisecond)
	}
	beats()
	require.Empty(t, out.String())
	m.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	beats()
	m.answers(func(http.ResponseWriter, *http.Request) {})
	beats()
	stop()
	<-ended
	require.Equal(t, 1, strings.Count(out.String(), "answered 500"), "said once: %s", out.String())
	require.Equal(t, 1, strings.Count(out.String(), "the heartbeat is back"))
	require.NotContains(t, out.String(), canary)
}

func TestHeartbeat_Beat(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	admin := pgtest.URL(t)
	timeout := time.Minute
	beat := func(url Secret) error {
		h := newHeartbeat(url, mustOpen(t, admin, CommandPool), slog.New(slog.DiscardHandler))
		h.client.Timeout = timeout
		err := h.beat(t.Context())
		if err != nil {
			require.NotContains(t, err.Error(), canary)
		}
		return err
	}
	require.NoError(t, beat(m.url()))

	m.answers(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+canary, http.StatusFound) })
	before := m.beats.Load()
	require.ErrorContains(t, beat(m.url()), "answered 302")
	require.Equal(t, before+1, m.beats.Load(), "a redirect is not followed")

	m.answers(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	timeout = 5 * time.Second // not so short that it ends while connecting
	require.ErrorContains(t, beat(m.url()), "no answer within")
	timeout = time.Minute
	m.answers(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 what is " + r.URL.Path + "\r\n\r\n"))
			_ = conn.Close()
		}
	})
	require.ErrorContains(t, beat(m.url()), "no answer that could be read")
	m.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) })
	require.NoError(t, beat(m.url()), "what the answer holds does not matter")
	require.ErrorContains(t, beat(Secret("http://127.0.0.1:1/"+canary)), "connection refused")

	// Not ready: no heartbeat.
	before = m.beats.Load()
	_, err := mustOpen(t, admin, CommandPool).Exec(t.Context(), `DO $$ DECLARE part text; BEGIN
		FOR part IN SELECT relname FROM pg_class WHERE relname ~ '^inbox_event_\d{8}$' LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$`)
	require.NoError(t, err)
	require.ErrorContains(t, beat(m.url()), "no partition for today")
	admin = "postgres://nobody@127.0.0.1:1/none"
	require.ErrorContains(t, beat(m.url()), "the database does not answer")
	require.Equal(t, before, m.beats.Load())
}

// sharedLog is a log that several goroutines write.
type sharedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
