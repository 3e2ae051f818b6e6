package circuit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	errDown = errors.New("connection refused")
	discard = slog.New(slog.DiscardHandler)
)

// env is three replicas on one database.
type env struct {
	pgtest.DB

	replicas [3]*Breaker
	log      *lines
	// hook keeps what OnTransition saw, and returns hookErr.
	mu      sync.Mutex
	seen    []Transition
	hookErr error
}

func newEnv(t *testing.T, config Config) *env {
	t.Helper()
	h := &env{DB: pgtest.Open(t), log: &lines{}}
	config.Logger = slog.New(h.log)
	config.OnTransition = h.hook
	config.WriteTimeout = time.Minute // a busy machine
	for i := range h.replicas {
		config.Holder = []string{"replica-0", "replica-1", "replica-2"}[i]
		h.replicas[i] = New(h.Pool, config)
	}
	return h
}

func (h *env) hook(ctx context.Context, tx pgx.Tx, t Transition) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, t)
	if h.hookErr != nil {
		return h.hookErr
	}
	// It is the transaction of the transition: the row reads as moved.
	var generation int64
	err := tx.QueryRow(ctx, "SELECT generation FROM circuit_breaker WHERE name = $1", t.Name).Scan(&generation)
	if err == nil && generation != t.Generation {
		err = errors.New("OnTransition runs outside the transition's transaction")
	}
	return err
}

func (h *env) failHook(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hookErr = err
}

func (h *env) transitions() []Transition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Transition(nil), h.seen...)
}

func (h *env) MustRead(t *testing.T) Snapshot {
	t.Helper()
	s, err := h.replicas[0].Snapshot(t.Context(), h.Pool)
	require.NoError(t, err)
	return s
}

// MustReadState reads the row without who made it so.
func (h *env) MustReadState(t *testing.T) Snapshot {
	t.Helper()
	s := h.MustRead(t)
	s.ChangedAt, s.ChangedBy, s.Reason = time.Time{}, "", ""
	return s
}

// fail records a failure of a remote side that is away, as a caller does.
func fail(ctx context.Context, b *Breaker, key string, cause error) error {
	suspected, err := b.RecordFailure(ctx, key, cause)
	if err != nil || !suspected {
		return err
	}
	return b.Open(ctx, cause)
}

// MustOpen opens a breaker by failures.
func (h *env) MustOpen(t *testing.T) {
	t.Helper()
	for range h.replicas[0].config.FailureThreshold {
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
	}
	require.Equal(t, Open, h.MustRead(t).State)
}

// MustBeDue makes an open breaker due now.
func (h *env) MustBeDue(t *testing.T) {
	t.Helper()
	h.MustExec("UPDATE circuit_breaker SET retry_at = now() - interval '1 second' WHERE state = 'open'")
}

// historyRow is a row of the history without its time.
type historyRow struct {
	Generation int64
	From, To   State
	Failures   int
	Actor      string
	Reason     string
}

func (h *env) MustHistory(t *testing.T) []historyRow {
	t.Helper()
	rows, err := h.Pool.Query(t.Context(), `SELECT generation, from_state, to_state, failure_count, actor, reason
		FROM circuit_breaker_event ORDER BY id`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[historyRow])
	require.NoError(t, err)
	return all
}

// lines is a slog.Handler that keeps messages.
type lines struct {
	mu  sync.Mutex
	all []slog.Record
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
	return nil
}

func (l *lines) count(level slog.Level, message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.all {
		if r.Level == level && r.Message == message {
			n++
		}
	}
	return n
}

// atOnce runs f n times at once and waits for all.
func atOnce(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestBreaker_Snapshot(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 2, RecoveryTimeout: time.Minute})

	s := h.MustRead(t)
	require.Equal(t, Snapshot{State: Closed}, s, "a new database has a closed breaker")
	require.NoError(t, s.Err())

	h.MustOpen(t)
	tx, err := h.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	s, err = h.replicas[1].Snapshot(t.Context(), tx)
	require.NoError(t, err)
	require.Equal(t, Open, s.State)
	require.Equal(t, 2, s.FailureCount)
	require.Equal(t, "connection refused", s.LastError)
	require.Equal(t, int64(1), s.Generation)
	require.Equal(t, time.Minute, s.RetryAt.Sub(*s.OpenedAt))
	require.InDelta(t, time.Minute, s.RetryIn, float64(20*time.Second))
	require.ErrorIs(t, s.Err(), ErrOpen)
	require.Contains(t, s.Err().Error(), "the next probe is due in")

	_, err = New(h.Pool, Config{Name: "nobody"}).Snapshot(t.Context(), h.Pool)
	require.ErrorContains(t, err, `"nobody" has no row`)
}

func TestBreaker_HistoryIsAppendOnly(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 1})
	h.MustOpen(t)
	for _, sql := range []string{
		"UPDATE circuit_breaker_event SET reason = ''", "DELETE FROM circuit_breaker_event", "TRUNCATE circuit_breaker_event",
	} {
		_, err := h.Pool.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "append-only", sql)
	}
}
