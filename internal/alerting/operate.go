package alerting

import (
	"context"
	"errors"
	"fmt"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/text"

	"github.com/jackc/pgx/v5"
)

// Errors of an operator's action that cannot be done.
var (
	// ErrNoAlert: no episode has that id.
	ErrNoAlert = errors.New("there is no alert with this id")
	// ErrResolved: the episode is over, so nothing about it can be changed.
	ErrResolved = errors.New("this alert is resolved already")
)

// Operator is a person who acts, and what they say about it.
type Operator struct {
	// Name is cli:<os user> or the name of an admin token.
	Name string
	// Comment is at most 500 bytes and may be empty.
	Comment string
}

// Acknowledge records that an operator takes care of an open episode: it stays
// open, and nothing is sent of it, not even a first notice that still waits, until it
// resolves or worsens. A group worsens, too,
// when its members have doubled.
func (a *Alerts) Acknowledge(ctx context.Context, tx pgx.Tx, id int64, o Operator) (Episode, error) {
	_, why, err := a.lockOpen(ctx, tx, id, o)
	if err != nil {
		return Episode{}, err
	}
	row, err := a.queries.AlertAcknowledge(ctx, tx, id)
	if err != nil {
		return Episode{}, fmt.Errorf("acknowledge alert %d: %w", id, err)
	}
	e, err := episode(row)
	if err != nil {
		return Episode{}, err
	}
	return e, a.append(ctx, tx, id, record{
		kind: "acknowledged", level: e.Level, cause: why, values: values{Occurrences: row.Occurrences, Members: row.Members},
	})
}

// ResolveByHand closes an open episode. If its rule fires again, that is a new one.
func (a *Alerts) ResolveByHand(ctx context.Context, tx pgx.Tx, id int64, o Operator) (Episode, error) {
	open, why, err := a.lockOpen(ctx, tx, id, o)
	if err != nil {
		return Episode{}, err
	}
	row, err := a.close(ctx, tx, id, ending{cause: why, message: endByHand(open, why)})
	if err != nil {
		return Episode{}, err
	}
	return episode(row)
}

// lockOpen locks an open episode and returns it with who acts, and why.
func (a *Alerts) lockOpen(ctx context.Context, tx pgx.Tx, id int64, o Operator) (row dbsqlc.Alert, why cause, err error) {
	if why, err = o.cause(); err != nil {
		return row, why, err
	}
	row, err = a.queries.AlertLock(ctx, tx, id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = ErrNoAlert
	case err != nil:
		err = fmt.Errorf("lock alert %d: %w", id, err)
	case row.ResolvedAt != nil:
		err = ErrResolved
	}
	return row, why, err
}

func (o Operator) cause() (cause, error) {
	comment, err := parseComment(o.Comment)
	return cause{actor: o.Name, reason: comment}, err
}

// parseComment bounds a comment and makes it one safe line. It is refused rather
// than cut: a person can say it shorter.
func parseComment(s string) (string, error) {
	if len(s) > maxReason {
		return "", &FieldError{Field: "comment", Problem: fmt.Sprintf("it is over %d bytes", maxReason)}
	}
	return text.Line(s, maxReason), nil
}
