package circuit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"dealbox/internal/pgtest"
)

// model is what a breaker ought to be, written without SQL. Its steps are
// whole actions of a replica in any order, with results and successes that
// come late.
type model struct {
	state      State
	forced     bool
	generation int64
	count      int
	keys       map[string]bool
	due        bool // open: the wait is over; half open: the lease is

	pool     *pgxpool.Pool
	name     string
	replicas [3]*Breaker
	leases   []rowVersion // probes under way, dead ones too
}

const modelThreshold = 3

func (m *model) to(state State, forced bool) {
	m.state, m.forced, m.due = state, forced, false
	m.generation++
	if state == Closed {
		m.count, m.keys = 0, map[string]bool{}
	}
}

func (m *model) step(t *rapid.T, action string) {
	ctx, b := context.Background(), m.replicas[rapid.IntRange(0, 2).Draw(t, "replica")]
	switch action {
	case "fail":
		key := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key")
		require.NoError(t, fail(ctx, b, key, errDown))
		if m.state == Closed && !m.forced && (key == "" || !m.keys[key]) {
			m.count++
			m.keys[key] = true
			if m.count >= modelThreshold {
				m.to(Open, false)
			}
		}
	case "succeed":
		require.NoError(t, b.RecordSuccess(ctx))
		if m.state == Closed {
			m.count, m.keys = 0, map[string]bool{}
		}
	case "wait":
		m.wait(t)
		m.due = m.state != Closed && !m.forced
	case "probe":
		now, err := b.Snapshot(ctx, m.pool)
		require.NoError(t, err)
		require.Equal(t, m.due, now.due())
		lease, err := b.lease(ctx, now)
		require.NoError(t, err)
		require.Equal(t, m.due, lease != nil)
		if lease != nil {
			m.to(HalfOpen, false)
			m.leases = append(m.leases, rowVersion{forcedState{State: HalfOpen}, lease.Generation})
		}
	case "result":
		m.result(t, b)
	case "operate":
		m.operate(t, b)
	}
}

// wait lets time pass by moving the row's times back.
func (m *model) wait(t *rapid.T) {
	_, err := m.pool.Exec(context.Background(), `UPDATE circuit_breaker
		SET retry_at = retry_at - interval '2 hours', probe_until = probe_until - interval '2 hours' WHERE name = $1`, m.name)
	require.NoError(t, err)
}

func (m *model) result(t *rapid.T, b *Breaker) {
	if len(m.leases) == 0 {
		return
	}
	lease := rapid.SampledFrom(m.leases).Draw(t, "lease")
	cause := rapid.SampledFrom([]error{nil, errDown, context.Canceled}).Draw(t, "result")
	require.NoError(t, b.recordProbe(context.Background(), lease, cause))
	if m.state != HalfOpen || lease.generation != m.generation {
		return
	}
	if cause == nil {
		m.to(Closed, false)
		return
	}
	m.to(Open, false)
	m.due = errors.Is(cause, context.Canceled)
}

func (m *model) operate(t *rapid.T, b *Breaker) {
	ctx := context.Background()
	switch what := rapid.SampledFrom([]string{"open", "close", "reset"}).Draw(t, "what"); what {
	case "reset":
		require.NoError(t, b.Reset(ctx, "ann", ""))
		m.to(Closed, false)
	default:
		state, force := Open, b.ForceOpen
		if what == "close" {
			state, force = Closed, b.ForceClose
		}
		moved, err := force(ctx, "ann", "")
		require.NoError(t, err)
		require.Equal(t, m.state != state || !m.forced, moved)
		if moved {
			m.to(state, true)
		}
	}
}

// check compares the row with the model, and the history with the row.
func (m *model) check(t *rapid.T) {
	now, err := m.replicas[0].Snapshot(context.Background(), m.pool)
	require.NoError(t, err)
	require.Equal(t, m.state, now.State)
	require.Equal(t, m.forced, now.Forced)
	require.Equal(t, m.count, now.FailureCount)
	require.Equal(t, m.generation, now.Generation)

	var rows, last int64
	require.NoError(t, m.pool.QueryRow(context.Background(), `SELECT count(*), coalesce(max(generation), 0)
		FROM circuit_breaker_event WHERE name = $1`, m.name).Scan(&rows, &last))
	require.Equal(t, m.generation, rows, "one history row a transition")
	require.Equal(t, m.generation, last)
}

func TestBreaker_AgreesWithItsModel(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	actions := []string{"fail", "fail", "fail", "succeed", "wait", "wait", "probe", "probe", "result", "result", "operate"}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{state: Closed, keys: map[string]bool{}, pool: pool, name: uuid.NewString()}
		_, err := pool.Exec(context.Background(), "INSERT INTO circuit_breaker (name) VALUES ($1)", m.name)
		require.NoError(t, err)
		for i := range m.replicas {
			m.replicas[i] = New(pool, Config{Name: m.name, Holder: fmt.Sprint("replica-", i), Logger: discard,
				FailureThreshold: modelThreshold, RecoveryTimeout: time.Hour, ProbeLease: time.Hour, WriteTimeout: time.Minute})
		}
		m.check(t)
		for _, action := range rapid.SliceOfN(rapid.SampledFrom(actions), 1, 25).Draw(t, "actions") {
			m.step(t, action)
			m.check(t)
		}
	})
}
