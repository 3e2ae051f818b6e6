package health

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

// canary is the secret part of HEARTBEAT_URL.
const canary = "canary-0d5c"

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

func (m *monitor) url() string { return m.URL + "/ping/" + canary }

func (m *monitor) setAnswer(h http.HandlerFunc) { m.answer.Store(&h) }

func TestHeartbeat_Run_LogsWhenAFailureBeginsAndEnds(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	var out pgtest.Log
	h := NewHeartbeat(HeartbeatConfig{
		URL: m.url(), DB: pgtest.Pool(t), Interval: time.Millisecond, Timeout: time.Minute,
		Logger: slog.New(slog.NewTextHandler(&out, nil)),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Run(ctx) }()
	wait := func() {
		t.Helper()
		before := m.beats.Load()
		require.Eventually(t, func() bool { return m.beats.Load() > before+3 }, time.Minute, time.Millisecond)
	}
	wait()
	require.Empty(t, out.String())
	m.setAnswer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	wait()
	m.setAnswer(func(http.ResponseWriter, *http.Request) {})
	wait()
	stop()
	<-ended
	require.Equal(t, 1, strings.Count(out.String(), "answered 500"), out.String())
	require.Equal(t, 1, strings.Count(out.String(), "the monitor at HEARTBEAT_URL will report Dealbox as down"))
	require.Equal(t, 1, strings.Count(out.String(), "heartbeat works again"))
	require.NotContains(t, out.String(), canary)
}

func TestHeartbeat_Send_ShowsNoMoreOfTheURLThanItsHost(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	pool := pgtest.Pool(t)
	send := func(url string, timeout time.Duration) error {
		err := NewHeartbeat(HeartbeatConfig{URL: url, DB: pool, Timeout: timeout, Logger: slog.New(slog.DiscardHandler)}).Send(t.Context())
		if err != nil {
			require.NotContains(t, err.Error(), canary)
		}
		return err
	}
	require.NoError(t, send(m.url(), time.Minute))

	m.setAnswer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+canary, http.StatusFound) })
	before := m.beats.Load()
	require.ErrorContains(t, send(m.url(), time.Minute), "answered 302")
	require.Equal(t, before+1, m.beats.Load(), "a redirect is not followed")

	m.setAnswer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	require.ErrorContains(t, send(m.url(), 5*time.Second), "no answer within") // not so short that it ends while connecting
	m.setAnswer(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 what is " + r.URL.Path + "\r\n\r\n"))
			_ = conn.Close()
		}
	})
	require.ErrorContains(t, send(m.url(), time.Minute), "no answer that could be read")
	m.setAnswer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) })
	require.NoError(t, send(m.url(), time.Minute), "what the answer holds does not matter")
	require.ErrorContains(t, send("http://127.0.0.1:1/"+canary, time.Minute), "connection refused")
	require.ErrorContains(t, send("http://127.0.0.1:1/%zz"+canary, time.Minute), "HEARTBEAT_URL cannot be used")
}

func TestHeartbeat_Send_NotReady(t *testing.T) {
	t.Parallel()
	m := newMonitor(t)
	send := func(pool *pgxpool.Pool) error {
		return NewHeartbeat(HeartbeatConfig{URL: m.url(), DB: pool, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}).Send(t.Context())
	}
	pool := pgtest.Pool(t)
	_, err := pool.Exec(t.Context(), "DO $$ BEGIN EXECUTE 'DROP TABLE inbox_event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'); END $$")
	require.NoError(t, err)
	require.ErrorContains(t, send(pool), "no partition for today")
	nobody, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	require.NoError(t, err)
	t.Cleanup(nobody.Close)
	require.ErrorContains(t, send(nobody), "Postgres does not answer")
	require.Zero(t, m.beats.Load())
}
