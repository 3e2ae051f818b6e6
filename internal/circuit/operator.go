package circuit

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
)

// ForceOpen holds the breaker open until Reset or ForceClose: nobody calls and
// no probe is made. A probe that is under way no longer counts. It returns
// false when the breaker was forced open already.
func (b *Breaker) ForceOpen(ctx context.Context, actor, reason string) (bool, error) {
	return b.operate(ctx, operatorOpens, moveCause{actor: actor, reason: reason})
}

// ForceClose holds the breaker closed until Reset or ForceOpen: calls are made
// and no failure is counted. It returns false when it was forced closed already.
func (b *Breaker) ForceClose(ctx context.Context, actor, reason string) (bool, error) {
	return b.operate(ctx, operatorCloses, moveCause{actor: actor, reason: reason})
}

// Reset ends what an operator forced and starts anew: closed, nothing counted.
func (b *Breaker) Reset(ctx context.Context, actor, reason string) error {
	_, err := b.operate(ctx, operatorResets, moveCause{actor: actor, reason: reason})
	return err
}

// operate locks the row first, so that no transition comes between reading and
// writing, and the operator's choice stands.
func (b *Breaker) operate(ctx context.Context, e event, why moveCause) (bool, error) {
	t, err := b.transact(ctx, func(ctx context.Context, tx pgx.Tx) (*Transition, error) {
		row, err := dbsqlc.New().CircuitBreakerLock(ctx, tx, b.config.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, errors.New("it has no row in circuit_breaker")
		}
		if err != nil {
			return nil, err
		}
		return b.move(ctx, tx, rowVersionOf(row), e, why)
	})
	if err != nil {
		return false, fmt.Errorf("move circuit breaker %q by hand: %w", b.config.Name, err)
	}
	return t != nil, nil
}
