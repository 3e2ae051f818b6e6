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
// a timeout, 5xx, 429. The key names the document that was asked for; it
// counts once in a run, so one poisoned document cannot open the breaker. The
// empty key always counts. The call that reaches the threshold opens it.
//
// Nothing is counted while it is not closed or an operator holds it, nor when
// ctx has ended or cause is a cancellation: that speaks about us.
//
// Failure policy: if OnTransition fails, the opening and the count that led to
// it are rolled back and the error returned; the next failure tries again.
func (b *Breaker) RecordFailure(ctx context.Context, key string, cause error) error {
	if ctx.Err() != nil || errors.Is(cause, context.Canceled) {
		return nil //nolint:nilerr // a cancellation speaks about us, not about the remote side
	}
	cleaned := causeText(cause)
	_, err := b.transact(ctx, func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		row, err := dbsqlc.New().CircuitBreakerCount(ctx, tx, dbsqlc.CircuitBreakerCountParams{
			Name: b.config.Name, Key: text.Line(key, maxText), LastError: cleaned,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, nil
		}
		if err != nil || int(row.FailureCount) < b.config.FailureThreshold {
			return nil, err
		}
		// The count took the row's lock, so nobody else sees this threshold reached.
		return b.move(ctx, tx, placeOf(row), thresholdReached, moveCause{
			reason: fmt.Sprintf("failures in a row: %d, the last: %s", row.FailureCount, cleaned),
		})
	})
	if err != nil {
		return fmt.Errorf("count a failure on circuit breaker %q: %w", b.config.Name, err)
	}
	return nil
}

// RecordSuccess ends the run of failures that the caller saw before its call. It
// writes only if that run had begun, so a healthy call costs nothing.
//
// It acts in the generation that was seen and no other: a call that began
// before an outage cannot erase what failed after it. Within one generation it
// also ends a run that began after seen was read. That is accepted: the answer
// has just arrived, so those failures were not consecutive.
func (b *Breaker) RecordSuccess(ctx context.Context, seen Snapshot) error {
	if seen.FailureCount == 0 {
		return nil
	}
	err := dbsqlc.New().CircuitBreakerClear(ctx, b.pool, dbsqlc.CircuitBreakerClearParams{
		Name: b.config.Name, Generation: seen.Generation,
	})
	if err != nil {
		return fmt.Errorf("clear the failures of circuit breaker %q: %w", b.config.Name, err)
	}
	return nil
}
