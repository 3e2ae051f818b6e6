package circuit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func succeed(context.Context) error { return nil }

func never(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Error("a probe was made that must not be")
		return nil
	}
}

func TestBreaker_Probe(t *testing.T) {
	t.Parallel()

	t.Run("OnlyWhenDue", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Hour})
		probed, err := h.replicas[0].Probe(t.Context(), never(t))
		require.NoError(t, err)
		require.False(t, probed, "closed")

		h.MustOpen(t)
		probed, err = h.replicas[0].Probe(t.Context(), never(t))
		require.NoError(t, err)
		require.False(t, probed, "open, not due")
	})

	t.Run("LeaseIsTakenByTheUpdate", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Hour})
		h.MustOpen(t)
		stale := h.MustRead(t)
		stale.RetryIn = 0 // as a reader would see whose database clock ran ahead
		lease, err := h.replicas[0].lease(t.Context(), stale)
		require.NoError(t, err)
		require.Nil(t, lease, "the UPDATE looks at retry_at itself")

		h.MustBeDue(t)
		stale = h.MustRead(t)
		_, err = h.replicas[0].Probe(t.Context(), func(context.Context) error { return errDown })
		require.NoError(t, err)
		h.MustBeDue(t)
		lease, err = h.replicas[1].lease(t.Context(), stale)
		require.NoError(t, err)
		require.Nil(t, lease, "the UPDATE looks at the generation")
	})

	t.Run("OneOfTwentyOverThreeReplicas", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1})
		for round := range 5 {
			if h.MustRead(t).State == Closed {
				h.MustOpen(t)
			}
			h.MustBeDue(t)
			var made, told, done atomic.Int32
			errs := make([]error, 20)
			others := make(chan struct{})
			atOnce(20, func(i int) {
				probed, err := h.replicas[i%3].Probe(t.Context(), func(context.Context) error {
					made.Add(1)
					<-others // the probe outlasts every other contender
					return nil
				})
				errs[i] = err
				if probed {
					told.Add(1)
				}
				if done.Add(1) == 19 {
					close(others)
				}
			})
			require.NoError(t, errors.Join(errs...))
			require.Equal(t, int32(1), made.Load(), "round %d", round)
			require.Equal(t, int32(1), told.Load(), "round %d", round)
			require.Equal(t, Closed, h.MustRead(t).State)
			require.Len(t, h.MustHistory(t), 3*(round+1))
		}
	})

	t.Run("SuccessCloses", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2})
		require.NoError(t, fail(t.Context(), h.replicas[0], "deal-1", errDown))
		require.NoError(t, fail(t.Context(), h.replicas[0], "deal-2", errDown))
		h.MustBeDue(t)
		probed, err := h.replicas[1].Probe(t.Context(), func(context.Context) error {
			s := h.MustRead(t)
			require.Equal(t, HalfOpen, s.State)
			require.ErrorIs(t, s.Err(), ErrOpen)
			require.NotNil(t, s.OpenedAt)
			require.Nil(t, s.RetryAt)
			return nil
		})
		require.NoError(t, err)
		require.True(t, probed)
		require.Equal(t, Snapshot{State: Closed, Generation: 3}, h.MustReadState(t))
		require.Equal(t, []historyRow{
			{1, Closed, Open, 2, "dealbox", "failures in a row: 2, the last: connection refused"},
			{2, Open, HalfOpen, 2, "dealbox", "probe by replica-1"},
			{3, HalfOpen, Closed, 0, "dealbox", "probe by replica-1 succeeded"},
		}, h.MustHistory(t))
		require.Len(t, h.transitions(), 3)

		require.NoError(t, fail(t.Context(), h.replicas[0], "deal-1", errDown))
		require.Equal(t, 1, h.MustRead(t).FailureCount, "a new run counts the document again")
	})

	t.Run("FailureOpensAgain", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2, RecoveryTimeout: time.Minute})
		h.MustOpen(t)
		opened := h.MustRead(t).OpenedAt
		h.MustBeDue(t)
		probed, err := h.replicas[2].Probe(t.Context(), func(context.Context) error { return errors.New("still down") })
		require.NoError(t, err)
		require.True(t, probed)
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.Equal(t, 2, s.FailureCount)
		require.Equal(t, "still down", s.LastError)
		require.Equal(t, opened, s.OpenedAt, "the outage began when it first opened")
		require.Equal(t, time.Minute, s.RetryAt.Sub(h.transitions()[2].At), "it waits once more")
		require.Equal(t, historyRow{3, HalfOpen, Open, 2, "dealbox", "probe by replica-2 failed: still down"}, h.MustHistory(t)[2])
	})

	t.Run("DeadProberIsReplaced", func(t *testing.T) {
		t.Parallel()
		for _, late := range []error{nil, errDown} {
			t.Run(fmt.Sprint("LateResult=", late), func(t *testing.T) {
				t.Parallel()
				h := newEnv(t, Config{FailureThreshold: 1, ProbeLease: time.Hour})
				h.MustOpen(t)
				h.MustBeDue(t)
				probed, err := h.replicas[0].Probe(t.Context(), func(ctx context.Context) error {
					probed, err := h.replicas[1].Probe(ctx, never(t))
					require.NoError(t, err)
					require.False(t, probed, "the lease holds")

					h.MustExec("UPDATE circuit_breaker SET probe_until = now() - interval '1 second'")
					require.Equal(t, HalfOpen, h.MustRead(t).State)
					probed, err = h.replicas[1].Probe(ctx, func(ctx context.Context) error {
						require.NoError(t, h.replicas[0].recordProbe(ctx, rowVersion{forcedState{State: HalfOpen}, 2}, late))
						require.Equal(t, int64(3), h.MustRead(t).Generation, "a late result does not end another's probe")
						return errors.New("still down")
					})
					require.NoError(t, err)
					require.True(t, probed)
					return late
				})
				require.NoError(t, err)
				require.True(t, probed)
				s := h.MustRead(t)
				require.Equal(t, Open, s.State, "the late result changed nothing")
				require.Equal(t, "still down", s.LastError)
				require.Equal(t, []historyRow{
					{1, Closed, Open, 1, "dealbox", "failures in a row: 1, the last: connection refused"},
					{2, Open, HalfOpen, 1, "dealbox", "probe by replica-0"},
					{3, HalfOpen, HalfOpen, 1, "dealbox", "probe by replica-1: the lease of the last prober ran out"},
					{4, HalfOpen, Open, 1, "dealbox", "probe by replica-1 failed: still down"},
				}, h.MustHistory(t))
			})
		}
	})

	t.Run("CancelledGivesTheLeaseBack", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Hour})
		h.MustOpen(t)
		h.MustBeDue(t)
		ctx, cancel := context.WithCancel(t.Context())
		probed, err := h.replicas[0].Probe(ctx, func(ctx context.Context) error {
			cancel()
			return fmt.Errorf("get: %w", ctx.Err())
		})
		require.NoError(t, err)
		require.True(t, probed)
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.Zero(t, s.RetryIn, "due at once")
		require.Equal(t, "connection refused", s.LastError, "a cancellation is no failure")
		require.Equal(t, historyRow{3, HalfOpen, Open, 1, "dealbox", "probe by replica-0 was given back: it was cancelled"}, h.MustHistory(t)[2])

		probed, err = h.replicas[1].Probe(t.Context(), succeed)
		require.NoError(t, err)
		require.True(t, probed)
		require.Equal(t, Closed, h.MustRead(t).State)
	})

	t.Run("SuccessCountsThoughCancelled", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1})
		h.MustOpen(t)
		h.MustBeDue(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := h.replicas[0].Probe(ctx, func(context.Context) error {
			cancel()
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, Closed, h.MustRead(t).State)
	})

	t.Run("HungProbeEndsBeforeItsLease", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Hour, ProbeLease: 4 * time.Second})
		h.MustOpen(t)
		h.MustBeDue(t)
		probed, err := h.replicas[0].Probe(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		require.NoError(t, err)
		require.True(t, probed)
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.Contains(t, s.LastError, "deadline exceeded")
		require.Greater(t, s.RetryIn, time.Minute, "a probe that hangs waits like any that fails")
	})

	t.Run("HookErrorRollsBack", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1})
		h.MustOpen(t)
		h.MustBeDue(t)
		full := errors.New("no alert, no transition")
		h.failHook(full)
		probed, err := h.replicas[0].Probe(t.Context(), never(t))
		require.ErrorIs(t, err, full)
		require.False(t, probed)
		require.Equal(t, Open, h.MustRead(t).State)

		h.failHook(nil)
		_, err = h.replicas[0].Probe(t.Context(), func(context.Context) error {
			h.failHook(full)
			return nil
		})
		require.ErrorIs(t, err, full)
		require.Equal(t, HalfOpen, h.MustRead(t).State, "its lease runs out, and another probes")
		require.Len(t, h.MustHistory(t), 2)
	})
}

func TestBreaker_Run(t *testing.T) {
	t.Parallel()

	t.Run("RecoversByItself", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3, RecoveryTimeout: 30 * time.Millisecond, ProbeLease: 10 * time.Second})
		var tries, running, most, closed atomic.Int32
		probe := func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if tries.Add(1) < 4 {
				return errDown
			}
			return nil
		}
		stop := start(t, func(ctx context.Context) {
			atOnce(3, func(i int) { h.replicas[i].Run(ctx, 2*time.Millisecond, probe, func() { closed.Add(1) }) })
		})
		defer stop()
		for range 3 {
			require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		}
		require.Eventually(t, func() bool { return h.MustRead(t).State == Closed }, time.Minute, 5*time.Millisecond)
		require.Eventually(t, func() bool { return closed.Load() == 3 }, time.Minute, time.Millisecond, "each replica notices")
		stop() // a transition is logged after its commit
		require.Equal(t, int32(4), tries.Load())
		require.Equal(t, int32(1), most.Load(), "one probe at a time over all replicas")
		require.Len(t, h.MustHistory(t), 1+2*4)
		require.Len(t, h.transitions(), 1+2*4)
		require.Equal(t, 1+3, h.log.count(slog.LevelWarn, "circuit breaker moved"))
		require.Equal(t, 4+1, h.log.count(slog.LevelInfo, "circuit breaker moved"))
	})

	t.Run("SurvivesTheDatabaseAndLogsChangesOnly", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1})
		h.MustOpen(t)
		h.MustBeDue(t)
		h.MustExec("ALTER TABLE circuit_breaker RENAME TO away")
		stop := start(t, func(ctx context.Context) { h.replicas[0].Run(ctx, time.Millisecond, succeed, func() {}) })
		defer stop()
		acquired := func() int64 { return h.Pool.Stat().AcquireCount() }
		reads := acquired() + 20
		require.Eventually(t, func() bool { return acquired() >= reads }, time.Minute, time.Millisecond)
		h.MustExec("ALTER TABLE away RENAME TO circuit_breaker")
		require.Eventually(t, func() bool { return h.MustRead(t).State == Closed }, time.Minute, 5*time.Millisecond)
		again := func() int { return h.log.count(slog.LevelInfo, "circuit breaker can be read again") }
		require.Eventually(t, func() bool { return again() > 0 }, time.Minute, time.Millisecond)
		stop()
		require.Equal(t, 1, again())
		require.Equal(t, 1, h.log.count(slog.LevelWarn, "circuit breaker cannot be read or written in Postgres; it is tried again each second"))
	})

	t.Run("GivesTheLeaseBackWhenItEnds", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Hour})
		h.MustOpen(t)
		h.MustBeDue(t)
		under := make(chan struct{})
		stop := start(t, func(ctx context.Context) {
			h.replicas[0].Run(ctx, time.Millisecond, func(ctx context.Context) error {
				close(under)
				<-ctx.Done()
				return ctx.Err()
			}, func() {})
		})
		<-under
		stop()
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.Zero(t, s.RetryIn)
	})
}

// start runs f until the returned function is called, which waits for it.
func start(t *testing.T, f func(ctx context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
