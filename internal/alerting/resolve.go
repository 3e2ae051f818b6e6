package alerting

import (
	"context"
	"errors"
	"fmt"
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

// Resolve closes the open episode of a rule and subject and reports whether there
// was one. Without one it costs one indexed statement. Only channels with a
// notification of the firing get one of the end.
func (a *Alerts) Resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string) (bool, error) {
	return a.resolve(ctx, tx, rule, subject, reason, func(time.Time) bool { return true })
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
	_, err = a.close(ctx, tx, open.ID, cause{reason: text.Line(reason, maxReason)})
	return true, err
}

// close resolves an episode that the caller has locked.
func (a *Alerts) close(ctx context.Context, tx pgx.Tx, id int64, why cause) (dbsqlc.Alert, error) {
	done, err := a.queries.AlertClose(ctx, tx, id)
	if err != nil {
		return done, fmt.Errorf("resolve alert %d: %w", id, err)
	}
	lvl, err := level.Parse(done.Level)
	if err != nil {
		return done, fmt.Errorf("read alert %d: %w", id, err)
	}
	lasted := done.ResolvedAt.Sub(done.FirstSeen).Seconds()
	r := record{kind: "resolved", level: lvl, cause: why, values: values{Occurrences: done.Occurrences, Seconds: &lasted}}
	if err := a.append(ctx, tx, id, r); err != nil {
		return done, err
	}
	return done, a.outbox.Enqueue(ctx, tx, id, lvl, notify.Resolved)
}
