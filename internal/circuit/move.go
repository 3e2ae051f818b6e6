package circuit

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/pgerr"
	"dealbox/internal/text"
)

const (
	// Self is the actor of transitions that Dealbox makes by itself.
	Self = "dealbox"
	// maxTries of one transaction that Postgres asks to repeat.
	maxTries = 3
)

// rowVersion is the version of the row that a decision was made on.
type rowVersion struct {
	forcedState
	generation int64
}

func rowVersionOf(row dbsqlc.CircuitBreaker) rowVersion {
	return rowVersion{forcedState{State(row.State), row.Forced}, row.Generation}
}

// moveCause is who makes a transition and why, for the history.
type moveCause struct {
	actor     string // empty: dealbox itself
	reason    string
	lastError *string // nil: keep what the row has
}

// move makes the transition that the event e leads to from the row version at,
// with its history row and OnTransition. It returns nil when e changes nothing
// there, and when another replica has moved the row meanwhile.
func (b *Breaker) move(ctx context.Context, tx pgx.Tx, at rowVersion, e event, why moveCause) (*Transition, error) {
	to, ok := next(at.forcedState, e)
	if !ok {
		return nil, nil
	}
	wait := b.config.RecoveryTimeout
	if e == probeGivenBack {
		wait = 0
	}
	row, err := dbsqlc.New().CircuitBreakerMove(ctx, tx, dbsqlc.CircuitBreakerMoveParams{
		Name: b.config.Name, FromState: string(at.State), Generation: at.generation,
		ToState: string(to.State), ToForced: to.Forced, LastError: why.lastError,
		RetryIn: wait.Seconds(), ProbeHolder: b.config.Holder, ProbeFor: b.config.ProbeLease.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := transitionOf(row, at.State, why)
	return &t, b.record(ctx, tx, t)
}

func transitionOf(row dbsqlc.CircuitBreaker, from State, why moveCause) Transition {
	actor := why.actor
	if actor == "" {
		actor = Self
	}
	return Transition{
		Name: row.Name, From: from, To: State(row.State), Forced: row.Forced, Generation: row.Generation,
		FailureCount: int(row.FailureCount), Actor: text.Line(actor, maxText), Reason: text.Line(why.reason, maxText),
		LastError: deref(row.LastError), At: row.ChangedAt,
		OpenedAt: row.OpenedAt, RetryAt: row.RetryAt,
	}
}

func (b *Breaker) record(ctx context.Context, tx pgx.Tx, t Transition) error {
	err := dbsqlc.New().CircuitBreakerEventAppend(ctx, tx, dbsqlc.CircuitBreakerEventAppendParams{
		Name: t.Name, At: t.At, Generation: t.Generation, FromState: string(t.From), ToState: string(t.To),
		FailureCount: int32(t.FailureCount), Actor: t.Actor, Reason: t.Reason,
	})
	if err != nil || b.config.OnTransition == nil {
		return err
	}
	return b.config.OnTransition(ctx, tx, t)
}

// transact runs fn in a transaction, repeats it where Postgres asks for that,
// and logs the transition once it is committed.
func (b *Breaker) transact(ctx context.Context, fn func(context.Context, pgx.Tx) (*Transition, error)) (*Transition, error) {
	ctx, cancel := context.WithTimeout(ctx, b.config.WriteTimeout)
	defer cancel()
	for try := 1; ; try++ {
		var made *Transition
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) (err error) {
			made, err = fn(ctx, tx)
			return err
		})
		if err == nil {
			b.log(ctx, made)
			return made, nil
		}
		if try == maxTries || !pgerr.IsConflict(err) {
			return nil, err
		}
	}
}

func (b *Breaker) log(ctx context.Context, t *Transition) {
	if t == nil {
		return
	}
	level := slog.LevelInfo
	if t.To == Open {
		level = slog.LevelWarn
	}
	b.config.Logger.LogAttrs(ctx, level, "circuit breaker moved",
		slog.String("breaker", t.Name), slog.String("from", string(t.From)), slog.String("to", string(t.To)),
		slog.Bool("forced", t.Forced), slog.Int64("generation", t.Generation), slog.Int("failures", t.FailureCount),
		slog.String("actor", t.Actor), slog.String("reason", t.Reason))
}
