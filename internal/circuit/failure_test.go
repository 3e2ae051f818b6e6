package circuit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBreaker_Failure(t *testing.T) {
	t.Parallel()

	t.Run("OpensAtThresholdOverAllReplicas", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 5, RecoveryTimeout: time.Minute})
		for i := range 4 {
			require.NoError(t, fail(t.Context(), h.replicas[i%3], fmt.Sprint("deal-", i), errDown))
			require.Equal(t, Closed, h.MustRead(t).State)
		}
		require.Empty(t, h.MustHistory(t), "counting is no transition")

		require.NoError(t, fail(t.Context(), h.replicas[1], "deal-4", errDown))
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.Equal(t, 5, s.FailureCount)
		reason := "failures in a row: 5, the last: connection refused"
		require.Equal(t, []historyRow{{1, Closed, Open, 5, "dealbox", reason}}, h.MustHistory(t))
		require.Equal(t, []Transition{{
			Name: "strapi", From: Closed, To: Open, Generation: 1, FailureCount: 5, Actor: "dealbox", Reason: reason,
			LastError: "connection refused", At: *s.OpenedAt, OpenedAt: s.OpenedAt, RetryAt: s.RetryAt,
		}}, h.transitions())
		require.Equal(t, 1, h.log.count(slog.LevelWarn, "circuit breaker moved"))

		var at time.Time
		require.NoError(t, h.Pool.QueryRow(t.Context(), "SELECT at FROM circuit_breaker_event").Scan(&at))
		require.True(t, at.Equal(*s.OpenedAt), "history and row tell the same time")
	})

	t.Run("FortyAtOnceAreForty", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1000})
		errs := make([]error, 40)
		atOnce(40, func(i int) { errs[i] = fail(t.Context(), h.replicas[i%3], fmt.Sprint("deal-", i), errDown) })
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 40, h.MustRead(t).FailureCount)
	})

	t.Run("FortyAtOnceOpenOnce", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 7})
		errs := make([]error, 40)
		atOnce(40, func(i int) { errs[i] = fail(t.Context(), h.replicas[i%3], "", errDown) })
		require.NoError(t, errors.Join(errs...))
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.GreaterOrEqual(t, s.FailureCount, 7, "some count while the first one asks")
		require.Equal(t, int64(1), s.Generation)
		require.Len(t, h.MustHistory(t), 1)
		require.Len(t, h.transitions(), 1)
		require.Equal(t, 1, h.log.count(slog.LevelWarn, "circuit breaker moved"))
	})

	t.Run("PoisonedDocumentCannotOpen", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3})
		for i := range 20 {
			require.NoError(t, fail(t.Context(), h.replicas[i%3], "poisoned", errDown))
		}
		require.Equal(t, 1, h.MustRead(t).FailureCount)
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		require.Equal(t, Closed, h.MustRead(t).State)
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		require.Equal(t, Open, h.MustRead(t).State, "the empty key counts every time")
	})

	t.Run("PoisonedDocumentAtOnceCountsOnce", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2})
		errs := make([]error, 20)
		atOnce(20, func(i int) { errs[i] = fail(t.Context(), h.replicas[i%3], "poisoned", errDown) })
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, 1, h.MustRead(t).FailureCount)
	})

	t.Run("NotClosedChangesNothing", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2})
		h.MustOpen(t)
		before := h.MustRead(t)
		require.NoError(t, fail(t.Context(), h.replicas[1], "", errors.New("later")))
		after := h.MustRead(t)
		before.RetryIn, after.RetryIn = 0, 0
		require.Equal(t, before, after)

		h.MustBeDue(t)
		probed, err := h.replicas[0].Probe(t.Context(), func(ctx context.Context) error {
			seen := h.MustRead(t)
			require.Equal(t, HalfOpen, seen.State)
			require.NoError(t, fail(ctx, h.replicas[1], "", errors.New("later")))
			now := h.MustRead(t)
			seen.RetryIn, now.RetryIn = 0, 0
			require.Equal(t, seen, now)
			return nil
		})
		require.NoError(t, err)
		require.True(t, probed)
		require.Len(t, h.MustHistory(t), 3)
	})

	t.Run("CancelledIsNotCounted", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 5})
		require.NoError(t, fail(t.Context(), h.replicas[0], "", fmt.Errorf("get: %w", context.Canceled)))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, fail(ended, h.replicas[0], "", errDown))
		require.Zero(t, h.MustRead(t).FailureCount)

		require.NoError(t, fail(t.Context(), h.replicas[0], "", fmt.Errorf("get: %w", context.DeadlineExceeded)))
		require.Equal(t, 1, h.MustRead(t).FailureCount, "a timeout is a failure")
	})

	t.Run("StoresAnyErrorAndKey", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2})
		bad := strings.Repeat("\x00\xff<html>ü", 2000)
		require.NoError(t, fail(t.Context(), h.replicas[0], bad, errors.New(bad)))
		require.NoError(t, fail(t.Context(), h.replicas[0], bad, errors.New(bad)))
		require.Equal(t, 1, h.MustRead(t).FailureCount)
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errors.New(bad)))
		s := h.MustRead(t)
		require.Equal(t, Open, s.State)
		require.LessOrEqual(t, len(s.LastError), 500)
		require.LessOrEqual(t, len(h.MustHistory(t)[0].Reason), 500)
	})

	t.Run("HookErrorRollsBack", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 2})
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		full := errors.New("no alert, no transition")
		h.failHook(full)
		require.ErrorIs(t, fail(t.Context(), h.replicas[0], "", errDown), full)
		s := h.MustRead(t)
		require.Equal(t, Closed, s.State)
		require.Equal(t, 2, s.FailureCount)
		require.Zero(t, s.Generation)
		require.Empty(t, h.MustHistory(t))
		require.Zero(t, h.log.count(slog.LevelWarn, "circuit breaker moved"), "only what is committed is logged")

		h.failHook(nil)
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		require.Equal(t, Open, h.MustRead(t).State)
	})

	t.Run("RepeatsADeadlock", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 1})
		h.MustExec("CREATE SEQUENCE tries")
		h.MustExec(`CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') < 3 THEN RAISE EXCEPTION 'not now' USING ERRCODE = 'deadlock_detected'; END IF;
			RETURN NEW; END $$`)
		h.MustExec("CREATE TRIGGER trip BEFORE INSERT ON circuit_breaker_event FOR EACH ROW EXECUTE FUNCTION trip()")
		require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
		require.Equal(t, Open, h.MustRead(t).State)
		require.Len(t, h.MustHistory(t), 1)
		require.Equal(t, 1, h.MustRead(t).FailureCount)
	})
}

func TestBreaker_Success(t *testing.T) {
	t.Parallel()

	t.Run("EndsARun", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3})
		require.NoError(t, fail(t.Context(), h.replicas[0], "deal-1", errDown))
		require.NoError(t, fail(t.Context(), h.replicas[1], "deal-2", errDown))
		require.NoError(t, h.replicas[2].RecordSuccess(t.Context()))
		require.Equal(t, Snapshot{State: Closed}, h.MustRead(t))

		require.NoError(t, fail(t.Context(), h.replicas[0], "deal-1", errDown))
		require.Equal(t, 1, h.MustRead(t).FailureCount, "a new run counts the document again")
		require.Empty(t, h.MustHistory(t))
	})

	t.Run("OpensOnlyAtTheThreshold", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3})
		for i := range 2 {
			suspected, err := h.replicas[i].RecordFailure(t.Context(), "", errDown)
			require.NoError(t, err)
			require.False(t, suspected)
		}
		require.NoError(t, h.replicas[0].Open(t.Context(), errDown))
		require.Equal(t, Closed, h.MustRead(t).State)

		suspected, err := h.replicas[2].RecordFailure(t.Context(), "", errDown)
		require.NoError(t, err)
		require.True(t, suspected)
		require.Equal(t, Closed, h.MustRead(t).State, "the caller asks first")

		require.NoError(t, h.replicas[1].RecordSuccess(t.Context()))
		require.NoError(t, h.replicas[2].Open(t.Context(), errDown))
		require.Equal(t, Closed, h.MustRead(t).State, "somebody had an answer meanwhile")
	})

	t.Run("HealthyWritesNothing", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3})
		version := func() string { return h.MustText("SELECT xmin::text || ctid::text FROM circuit_breaker") }
		before := version()
		require.NoError(t, h.replicas[0].RecordSuccess(t.Context()))
		require.Equal(t, before, version())
	})

	t.Run("OnlyAProbeCloses", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, Config{FailureThreshold: 3})
		h.MustOpen(t)
		require.NoError(t, h.replicas[1].RecordSuccess(t.Context()))
		require.Equal(t, Open, h.MustRead(t).State)
		require.Equal(t, 3, h.MustRead(t).FailureCount)
	})
}
