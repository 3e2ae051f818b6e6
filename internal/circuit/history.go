package circuit

import (
	"context"
	"fmt"

	"dealbox/internal/dbsqlc"
)

// History reads the last transitions, newest first. What only the row knows
// (Forced, LastError, OpenedAt, RetryAt) is not part of the history.
func (b *Breaker) History(ctx context.Context, db dbsqlc.DBTX, limit int) ([]Transition, error) {
	rows, err := dbsqlc.New().CircuitBreakerEventList(ctx, db, dbsqlc.CircuitBreakerEventListParams{Name: b.config.Name, MaxRows: int32(limit)})
	if err != nil {
		return nil, fmt.Errorf("read the history of circuit breaker %q: %w", b.config.Name, err)
	}
	all := make([]Transition, len(rows))
	for i, row := range rows {
		all[i] = Transition{
			Name: b.config.Name, From: State(row.FromState), To: State(row.ToState), Generation: row.Generation,
			FailureCount: int(row.FailureCount), Actor: row.Actor, Reason: row.Reason, At: row.At,
		}
	}
	return all, nil
}
