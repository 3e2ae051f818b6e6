package circuit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Probe makes the one call that decides whether an open breaker closes, if it
// is due and no other replica is making it. It reports whether it called probe. A nil result closes the breaker; an error opens it for another
// recovery timeout. The error of probe is not returned: it is the reason in the
// history. Errors returned are the database's.
//
// The context of probe ends before the lease does. A result that comes when
// another replica has taken over changes nothing. If ctx ends, or probe returns
// a cancellation, the lease is given back and a probe stays due: a process that
// stops says nothing about the remote side.
func (b *Breaker) Probe(ctx context.Context, probe func(context.Context) error) (bool, error) {
	seen, err := b.read(ctx)
	if err != nil {
		return false, err
	}
	return b.probe(ctx, seen, probe)
}

// probe is Probe with the row as it was just read.
func (b *Breaker) probe(ctx context.Context, seen Snapshot, probe func(context.Context) error) (bool, error) {
	if !seen.due() {
		return false, nil
	}
	// The lease runs from a moment after this one, so ours ends first.
	asked := time.Now()
	lease, err := b.lease(ctx, seen)
	if err != nil || lease == nil {
		return false, err
	}
	// What is left of the lease is for writing the result down.
	probeCtx, cancel := context.WithDeadline(ctx, asked.Add(b.config.ProbeLease*3/4))
	defer cancel()
	return true, b.recordProbe(ctx, rowVersion{forcedState{State: HalfOpen}, lease.Generation}, probe(probeCtx))
}

// read reads the row without a transaction.
func (b *Breaker) read(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.WriteTimeout)
	defer cancel()
	return b.Snapshot(ctx, b.pool)
}

// due reports whether a probe may be made now, as far as this snapshot knows.
// The UPDATE that takes the lease decides.
func (s Snapshot) due() bool {
	return s.State != Closed && !s.Forced && s.RetryIn == 0
}

func (b *Breaker) lease(ctx context.Context, seen Snapshot) (*Transition, error) {
	reason := "probe by " + b.config.Holder
	if seen.State == HalfOpen {
		reason += ": the lease of the last prober ran out"
	}
	t, err := b.transact(ctx, func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		at := rowVersion{forcedState{State: seen.State}, seen.Generation}
		return b.move(ctx, tx, at, probeDue, moveCause{reason: reason})
	})
	if err != nil {
		return nil, fmt.Errorf("take the probe of circuit breaker %q: %w", b.config.Name, err)
	}
	return t, nil
}

// recordProbe writes the result of a probe, also when ctx has ended by now.
func (b *Breaker) recordProbe(ctx context.Context, lease rowVersion, cause error) error {
	e, why := probeResult(ctx, cause)
	why.reason = fmt.Sprintf("probe by %s %s", b.config.Holder, why.reason)
	_, err := b.transact(context.WithoutCancel(ctx), func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		return b.move(ctx, tx, lease, e, why)
	})
	if err != nil {
		return fmt.Errorf("write the probe's result on circuit breaker %q: %w", b.config.Name, err)
	}
	return nil
}

// probeResult returns the event that a probe's error stands for, and why.
func probeResult(ctx context.Context, cause error) (event, moveCause) {
	if cause == nil {
		return probeSucceeded, moveCause{reason: "succeeded"}
	}
	if ctx.Err() != nil || errors.Is(cause, context.Canceled) {
		return probeGivenBack, moveCause{reason: "was given back: it was cancelled"}
	}
	text := causeText(cause)
	return probeFailed, moveCause{reason: "failed: " + text, lastError: &text}
}
