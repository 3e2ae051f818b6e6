package retry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type failure struct {
	passing bool
	after   time.Duration
	cause   error
}

func (f *failure) Error() string             { return "failed" }
func (f *failure) Transient() bool           { return f.passing }
func (f *failure) RetryAfter() time.Duration { return f.after }
func (f *failure) Unwrap() error             { return f.cause }

// script is an op that returns one result after the other, then nil, and records
// when it was called.
type script struct {
	results []error
	begin   time.Time
	calls   []time.Duration
}

func (s *script) op(context.Context) error {
	s.calls = append(s.calls, time.Since(s.begin))
	if n := len(s.calls) - 1; n < len(s.results) {
		return s.results[n]
	}
	return nil
}

func TestDo(t *testing.T) {
	t.Parallel()
	passing := &failure{passing: true}
	final := &failure{}
	plain := errors.New("plain")
	wrapped := fmt.Errorf("hop: %w", passing)
	const s = time.Second
	for name, c := range map[string]struct {
		results  []error
		deadline time.Duration // 0: none
		try      time.Duration
		want     error
		calls    []time.Duration
	}{
		"Success":                     {nil, 0, 0, nil, []time.Duration{0}},
		"SuccessAfterTwo":             {[]error{passing, passing}, 0, 0, nil, []time.Duration{0, s / 2, 3 * s / 2}},
		"WrappedIsFoundToo":           {[]error{wrapped}, 0, 0, nil, []time.Duration{0, s / 2}},
		"GivesUp":                     {[]error{passing, passing, passing, wrapped, nil}, 0, 0, wrapped, []time.Duration{0, s / 2, 3 * s / 2, 7 * s / 2}},
		"FinalIsNotRetried":           {[]error{final}, 0, 0, final, []time.Duration{0}},
		"UnknownIsNotRetried":         {[]error{plain}, 0, 0, plain, []time.Duration{0}},
		"FinalAfterPassing":           {[]error{passing, plain}, 0, 0, plain, []time.Duration{0, s / 2}},
		"CanceledIsNotRetried":        {[]error{&failure{passing: true, cause: context.Canceled}}, 0, 0, context.Canceled, []time.Duration{0}},
		"LongerHintCounts":            {[]error{&failure{passing: true, after: 90 * s}}, 0, 0, nil, []time.Duration{0, 90 * s}},
		"ShorterHintDoesNot":          {[]error{&failure{passing: true, after: s / 4}}, 0, 0, nil, []time.Duration{0, s / 2}},
		"DeadlineBeyondTheWait":       {[]error{passing}, s, 0, nil, []time.Duration{0, s / 2}},
		"RoomForTheTry":               {[]error{passing}, 11 * s, 10 * s, nil, []time.Duration{0, s / 2}},
		"WaitWouldPassDeadline":       {[]error{passing}, s / 2, 0, ErrTooLate, []time.Duration{0}},
		"SecondWaitWouldPassDeadline": {[]error{passing, passing}, s, 0, ErrTooLate, []time.Duration{0, s / 2}},
		"HintWouldPassDeadline":       {[]error{&failure{passing: true, after: 30 * s}}, 30 * s, 0, ErrTooLate, []time.Duration{0}},
		"TryWouldPassDeadline":        {[]error{passing}, 10 * s, 10 * s, ErrTooLate, []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				run := script{results: c.results, begin: time.Now()}
				p := standard
				p.Try = c.try

				err := do(ctx, p, fixed(0.5), run.op)

				require.Equal(t, c.calls, run.calls)
				require.Equal(t, c.calls[len(c.calls)-1], time.Since(run.begin), "it returns at once")
				if c.want == nil {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, c.want)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}

func TestDo_DeferredHasTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cause := &failure{passing: true, after: 45 * time.Second}

		err := Do(ctx, standard, func(context.Context) error { return cause })

		var deferred *DeferredError
		require.ErrorAs(t, err, &deferred)
		require.Equal(t, 45*time.Second, deferred.After)
		require.ErrorIs(t, err, cause)
		require.ErrorIs(t, err, ErrTooLate)
		require.Equal(t, "failed; the next try would come too late: come back after 45s", err.Error())
	})
}

func TestDo_CancelEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		cause := &failure{passing: true, after: time.Hour}
		time.AfterFunc(7*time.Second, cancel)
		calls := 0

		err := Do(ctx, standard, func(context.Context) error { calls++; return cause })

		require.Equal(t, 7*time.Second, time.Since(begin))
		require.Equal(t, 1, calls)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, cause)
		require.NotErrorIs(t, err, ErrTooLate)
	})
}

func TestDo_CancelDuringTheTry(t *testing.T) {
	t.Parallel()
	// Also in the last try: the caller must not take it for a failure alone.
	for _, p := range []Policy{standard, {}} {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0

		err := Do(ctx, p, func(context.Context) error {
			calls++
			cancel()
			return &failure{passing: true}
		})

		require.Equal(t, 1, calls)
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestDo_EndedBeforeTheFirstTry(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	err := Do(ctx, standard, func(context.Context) error {
		t.Error("tried")
		return nil
	})

	require.ErrorIs(t, err, context.Canceled)
}

// A timeout of one request inside op is no end of the caller's context.
func TestDo_InnerTimeoutIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := script{results: []error{&failure{passing: true, cause: context.DeadlineExceeded}}, begin: time.Now()}

		require.NoError(t, Do(t.Context(), standard, run.op))

		require.Len(t, run.calls, 2)
	})
}

func TestDo_ZeroPolicyTriesOnce(t *testing.T) {
	t.Parallel()
	run := script{results: []error{&failure{passing: true}}}

	require.Error(t, Do(t.Context(), Policy{}, run.op))

	require.Len(t, run.calls, 1)
}
