package circuit

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/text"
)

// RecordFailure counts a failure that speaks about the remote side: a network error,
// a timeout, 5xx, 429. The key names the document of the request; it
// counts once in a run, so one poisoned document cannot open the breaker. The
// empty key always counts.
//
// It reports whether the run of failures has reached the threshold. It does not
// open the breaker: failures in a row can be those of as many documents. The caller
// asks whether the remote side is there, and calls Open or RecordSuccess.
//
// Nothing is counted while it is not closed or an operator holds it, nor when
// ctx has ended or cause is a cancellation: that speaks about us.
func (b *Breaker) RecordFailure(ctx context.Context, key string, cause error) (suspected bool, err error) {
	if ctx.Err() != nil || errors.Is(cause, context.Canceled) {
		return false, nil //nolint:nilerr // a cancellation speaks about us, not about the remote side
	}
	_, err = b.transact(ctx, func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		row, err := dbsqlc.New().CircuitBreakerCount(ctx, tx, dbsqlc.CircuitBreakerCountParams{
			Name: b.config.Name, Key: text.Line(key, maxText), LastError: causeText(cause),
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		}
		suspected = int(row.FailureCount) >= b.config.FailureThreshold
		return nil, err
	})
	if err != nil {
		return false, fmt.Errorf("count a failure on circuit breaker %q: %w", b.config.Name, err)
	}
	return suspected, nil
}

// Open opens the breaker, if the run of failures still has the threshold: a success
// since then has ended it. The caller has asked the remote side after RecordFailure
// reported that the threshold was reached, and cause is why it is taken to be away.
//
// Failure policy: if OnTransition fails, the opening is rolled back and the error
// returned; the next failure tries again.
func (b *Breaker) Open(ctx context.Context, cause error) error {
	_, err := b.transact(ctx, func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		row, err := dbsqlc.New().CircuitBreakerLock(ctx, tx, b.config.Name)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && int(row.FailureCount) < b.config.FailureThreshold {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return b.move(ctx, tx, rowVersionOf(row), thresholdReached, moveCause{
			reason: fmt.Sprintf("failures in a row: %d, the last: %s", row.FailureCount, causeText(cause)),
		})
	})
	if err != nil {
		return fmt.Errorf("open circuit breaker %q: %w", b.config.Name, err)
	}
	return nil
}

// RecordSuccess ends the run of failures, whenever the call began that succeeded: its
// answer has just arrived, so the failures were not consecutive. It closes nothing:
// only a probe does. It is one UPDATE, which writes nothing where nothing was counted;
// a caller that has just read so may leave it out.
func (b *Breaker) RecordSuccess(ctx context.Context) error {
	if err := dbsqlc.New().CircuitBreakerClear(ctx, b.pool, b.config.Name); err != nil {
		return fmt.Errorf("clear the failures of circuit breaker %q: %w", b.config.Name, err)
	}
	return nil
}
