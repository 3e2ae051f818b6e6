package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// IsOpen reports whether there is an open episode of a rule and subject. It takes
// no lock.
func (a *Alerts) IsOpen(ctx context.Context, db dbsqlc.DBTX, rule, subject string) (bool, error) {
	open, err := a.queries.AlertIsOpen(ctx, db, fingerprint(rule, subject))
	if err != nil {
		return false, fmt.Errorf("read whether an episode of %s is open: %w", rule, err)
	}
	return open, nil
}

// OpenFor returns for how long an episode of a rule and subject has been open, 0 when there
// is none. It takes no lock.
func (a *Alerts) OpenFor(ctx context.Context, db dbsqlc.DBTX, rule, subject string) (time.Duration, error) {
	seconds, err := a.queries.AlertOpenSeconds(ctx, db, fingerprint(rule, subject))
	if err != nil {
		return 0, fmt.Errorf("read for how long an episode of %s has been open: %w", rule, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// Resolve closes the open episode of a rule and subject and reports whether there
// was one. Without one it costs one indexed statement. Only channels with a
// notification of the firing get one of the end. The reason is the episode's text
// from then on: it says to people what became of it. "{lasted}" in it becomes how
// long the episode was open, and "{waiting}" what
// becomes of the webhooks that wait.
func (a *Alerts) Resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string) (bool, error) {
	return a.resolve(ctx, tx, rule, subject, reason, func(time.Time) bool { return true })
}

// ResolveSubjects resolves the open episodes of a rule whose subjects are gone.
func (a *Alerts) ResolveSubjects(ctx context.Context, tx pgx.Tx, rule string, isGone func(subject string) bool, reason string) error {
	subjects, err := a.queries.AlertOpenSubjects(ctx, tx, rule)
	if err != nil {
		return fmt.Errorf("list the open episodes of %s: %w", rule, err)
	}
	for _, subject := range subjects {
		if !isGone(subject) {
			continue
		}
		if _, err := a.Resolve(ctx, tx, rule, subject, reason); err != nil {
			return err
		}
	}
	return nil
}

// ResolveSeenBefore is Resolve, but an episode that last fired at the given moment
// of the database's clock, or later, stays open.
func (a *Alerts) ResolveSeenBefore(ctx context.Context, tx pgx.Tx, rule, subject string, moment time.Time, reason string) (bool, error) {
	return a.resolve(ctx, tx, rule, subject, reason, moment.After)
}

func (a *Alerts) resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string, ends func(lastSeen time.Time) bool) (bool, error) {
	open, err := a.queries.AlertLockOpen(ctx, tx, fingerprint(rule, subject))
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock the episode of %s: %w", rule, err)
	}
	if !ends(open.LastSeen) {
		return false, nil
	}
	_, err = a.close(ctx, tx, open.ID, ending{cause: cause{reason: reason}, message: reason})
	return true, err
}

// ending is how an episode ends. What stands in braces in its texts is filled when it does.
type ending struct {
	cause

	message string
	details []byte // nil keeps those that it has
}

// close resolves an episode that the caller has locked.
func (a *Alerts) close(ctx context.Context, tx pgx.Tx, id int64, e ending) (dbsqlc.Alert, error) {
	done, err := a.queries.AlertClose(ctx, tx, id)
	if err != nil {
		return done, fmt.Errorf("resolve alert %d: %w", id, err)
	}
	lvl, err := level.Parse(done.Level)
	if err != nil {
		return done, fmt.Errorf("read alert %d: %w", id, err)
	}
	if err := a.conclude(ctx, tx, &done, &e); err != nil {
		return done, err
	}
	lasted := done.ResolvedAt.Sub(done.FirstSeen).Seconds()
	r := record{kind: "resolved", level: lvl, cause: e.cause, values: values{Message: done.Message, Occurrences: done.Occurrences, Seconds: &lasted}}
	if err := a.append(ctx, tx, id, r); err != nil {
		return done, err
	}
	return done, a.outbox.Enqueue(ctx, tx, id, lvl, notify.Resolved)
}

// conclude writes into a resolved episode what became of it.
func (a *Alerts) conclude(ctx context.Context, tx pgx.Tx, done *dbsqlc.Alert, e *ending) error {
	fill, err := a.filler(ctx, tx, *done, e.message+e.reason)
	if err != nil {
		return err
	}
	if e.actor == "" { // a person's comment stays as it is
		e.reason = text.Line(fill(e.reason), maxReason)
	}
	done.Message = text.Line(fill(withDuration(e.message)), maxMessage)
	if e.details != nil {
		done.Details = e.details
	}
	err = a.queries.AlertConclude(ctx, tx, dbsqlc.AlertConcludeParams{ID: done.ID, Message: done.Message, Details: done.Details})
	if err != nil {
		return fmt.Errorf("say how alert %d ended: %w", done.ID, err)
	}
	return nil
}

// What stands in braces in a text.
const (
	since   = "{since}"   // when the episode began
	lasted  = "{lasted}"  // how long it was open; only in its end
	waiting = "{waiting}" // what becomes of the webhooks that wait at its end
)

// withDuration appends how long the episode lasted where the text does not say it.
func withDuration(message string) string {
	if strings.Contains(message, lasted) {
		return message
	}
	return strings.TrimRight(message, ".") + ". It lasted " + lasted
}

// filler returns what replaces what stands in braces, of a resolved episode.
func (a *Alerts) filler(ctx context.Context, tx pgx.Tx, done dbsqlc.Alert, texts string) (func(string) string, error) {
	pairs := []string{since, notify.Clock(done.FirstSeen), lasted, text.Span(done.ResolvedAt.Sub(done.FirstSeen))}
	if strings.Contains(texts, waiting) {
		n, err := a.queries.AlertWaiting(ctx, tx)
		if err != nil {
			return nil, fmt.Errorf("count the webhooks that wait: %w", err)
		}
		pairs = append(pairs, waiting, webhooksWaited(n))
	}
	return strings.NewReplacer(pairs...).Replace, nil
}
