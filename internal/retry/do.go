package retry

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrTooLate matches every *DeferredError with errors.Is.
var ErrTooLate = errors.New("the next try would come too late")

// DeferredError means that the next try would come too late for the context's
// deadline. The caller should try again after After.
type DeferredError struct {
	// After is the wait before the next try: the delay, or a longer Retry-After.
	After time.Duration
	// Err is the failure of the last try.
	Err error
}

func (e *DeferredError) Error() string {
	return fmt.Sprintf("%v; %v: come back after %s", e.Err, ErrTooLate, e.After)
}

// Unwrap returns the failure of the last try.
func (e *DeferredError) Unwrap() error { return e.Err }

// Is reports whether target is ErrTooLate.
func (e *DeferredError) Is(target error) bool { return target == ErrTooLate }

// transient is implemented by errors that know whether another try may help.
type transient interface {
	error
	Transient() bool
}

// hinted is implemented by errors that know how long to wait at least.
type hinted interface {
	error
	RetryAfter() time.Duration
}

// Do calls op until it succeeds, fails for good, or was called 1 + MaxRetries
// times. It calls op again only after an error whose method Transient returns
// true. Before that it waits for the policy's delay or for what the error's method
// RetryAfter returns, whichever is longer. It returns
//   - the error of the last call,
//   - a *DeferredError, at once, when the wait would pass ctx's deadline,
//   - an error that wraps ctx.Err() when ctx ends, at once. The end of ctx is
//     never a reason to try again.
func Do(ctx context.Context, p Policy, op func(ctx context.Context) error) error {
	return do(ctx, p, nil, op)
}

func do(ctx context.Context, p Policy, rnd func() float64, op func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not tried: %w", err)
	}
	for n := 0; ; n++ {
		err := op(ctx)
		if err == nil || !retryable(err) {
			return err
		}
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		if n >= p.MaxRetries {
			return err
		}
		delay := max(p.Delay(n, rnd), hint(err))
		if passesDeadline(ctx, delay, p.Try) {
			return &DeferredError{After: delay, Err: err}
		}
		if !wait(ctx, delay) {
			return ended(ctx, err)
		}
	}
}

func retryable(err error) bool {
	t, ok := errors.AsType[transient](err)
	return ok && t.Transient() && !errors.Is(err, context.Canceled)
}

func hint(err error) time.Duration {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.RetryAfter()
	}
	return 0
}

func passesDeadline(ctx context.Context, delay, try time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline)-max(try, 0) <= delay
}

// wait reports whether the delay passed before ctx ended.
func wait(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func ended(ctx context.Context, last error) error {
	return fmt.Errorf("no further try: %w; the last one failed: %w", ctx.Err(), last)
}
