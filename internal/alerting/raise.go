// Package alerting keeps what is wrong: one row an episode, from the first time
// that a rule fires for a subject until it resolves, and an append-only history.
// Alerts are raised in the transaction of the fact that they tell, and so are
// their notifications: there is no fact without its alert, no alert without its
// fact, and no notification of something that was rolled back.
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

// Config of Alerts.
type Config struct {
	// RepeatEvery is how long an episode's history stays quiet about repeats.
	// 5,000 repeats of one episode are one row whose occurrences grow, not 5,000
	// rows of history: a repeat is recorded only when the episode's last history
	// row is older than this. 0 means one minute.
	RepeatEvery time.Duration
	// RemindEvery is how long an episode that nobody acknowledged goes on before
	// its channels hear of it again. 0 means 4 h.
	RemindEvery time.Duration
}

// Alerts raises and resolves alerts.
type Alerts struct {
	config  Config
	outbox  *notify.Outbox
	queries *dbsqlc.Queries
}

// New makes Alerts that notify through the outbox.
func New(c Config, outbox *notify.Outbox) *Alerts {
	if c.RepeatEvery == 0 {
		c.RepeatEvery = time.Minute
	}
	if c.RemindEvery == 0 {
		c.RemindEvery = 4 * time.Hour
	}
	return &Alerts{config: c, outbox: outbox, queries: dbsqlc.New()}
}

// Raise opens an episode, or adds an occurrence to the one that is open, and
// answers its id. A higher level escalates the episode; a lower one does not
// calm it. The first time and each escalation are notified, unless a silence or
// another episode mutes it.
//
// It locks the episode's row until tx ends, so raise last in a transaction, and
// several alerts in the order of their subjects.
func (a *Alerts) Raise(ctx context.Context, tx pgx.Tx, alert Alert) (int64, error) {
	if err := alert.check(); err != nil {
		return 0, err
	}
	p := params(alert)
	p.Told = a.outbox.HasChannels()
	for {
		open, err := a.queries.AlertLockOpen(ctx, tx, p.Fingerprint)
		if err == nil {
			return open.ID, a.again(ctx, tx, open, alert.Level, p)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, fmt.Errorf("look for an open episode of %s: %w", p.Rule, err)
		}
		id, err := a.open(ctx, tx, alert.Level, p)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, fmt.Errorf("open an episode of %s: %w", p.Rule, err)
		}
		// Another transaction opened it between the two statements: look again.
	}
}

func params(alert Alert) dbsqlc.AlertOpenParams {
	return dbsqlc.AlertOpenParams{
		Fingerprint: fingerprint(alert.Rule, alert.Subject),
		Rule:        text.Line(alert.Rule, maxRule),
		Subject:     fit(alert.Subject),
		Level:       alert.Level.String(),
		Status:      string(Firing),
		Message:     text.Line(alert.Message, maxMessage),
		Details:     encodeDetails(alert.Details),
	}
}

// open begins an episode and tells the history and the channels. It answers
// pgx.ErrNoRows when another transaction was faster.
func (a *Alerts) open(ctx context.Context, tx pgx.Tx, lvl level.Level, p dbsqlc.AlertOpenParams) (int64, error) {
	mute, err := a.muted(ctx, tx, p.Rule, p.Subject)
	if err != nil {
		return 0, err
	}
	if mute.is() {
		p.Status, p.SilenceID, p.InhibitorID = string(Suppressed), mute.SilenceID, mute.InhibitorID
	}
	id, err := a.queries.AlertOpen(ctx, tx, p)
	if err != nil {
		return 0, err //nolint:wrapcheck // Raise tells a lost race from a failure
	}
	err = a.append(ctx, tx, id, "raised", lvl, actor{actor: service}, fact{Message: p.Message, Details: p.Details, Occurrences: 1})
	if err != nil {
		return 0, err
	}
	if mute.is() {
		return id, a.recordMute(ctx, tx, id, lvl, notify.First, mute)
	}
	return id, a.outbox.Enqueue(ctx, tx, id, lvl, notify.First)
}

// again adds an occurrence to an open episode.
func (a *Alerts) again(ctx context.Context, tx pgx.Tx, open dbsqlc.AlertLockOpenRow, lvl level.Level, p dbsqlc.AlertOpenParams) error {
	before, err := level.Parse(open.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", open.ID, err)
	}
	now := max(before, lvl)
	worse := now > before
	var m mute
	// What is suppressed is told with its new level if it outlives what mutes it.
	tell := worse && Status(open.Status) != Suppressed
	if tell {
		if m, err = a.muted(ctx, tx, p.Rule, p.Subject); err != nil {
			return err
		}
	}
	n, err := a.queries.AlertRepeat(ctx, tx, dbsqlc.AlertRepeatParams{
		ID: open.ID, Level: now.String(), Message: p.Message, Details: p.Details, Worse: worse, Told: p.Told && !m.is(),
	})
	if err != nil {
		return fmt.Errorf("repeat alert %d: %w", open.ID, err)
	}
	happened := fact{Message: p.Message, Details: p.Details, Occurrences: n}
	if !worse {
		return a.appendRepeat(ctx, tx, open.ID, now, happened)
	}
	happened.From = before.String()
	if err := a.append(ctx, tx, open.ID, "escalated", now, actor{actor: service}, happened); err != nil {
		return err
	}
	switch {
	case !tell:
		return nil
	case m.is():
		return a.suppress(ctx, tx, dbsqlc.Alert{ID: open.ID, Level: now.String()}, notify.Escalated, m)
	}
	return a.outbox.Enqueue(ctx, tx, open.ID, now, notify.Escalated)
}

// IsOpen says whether there is an open episode of a rule and subject.
func (a *Alerts) IsOpen(ctx context.Context, db dbsqlc.DBTX, rule, subject string) (bool, error) {
	_, err := a.queries.AlertLockOpen(ctx, db, fingerprint(rule, subject))
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an open episode of %s: %w", rule, err)
	}
	return true, nil
}

// Resolve closes the open episode of a rule and subject and answers whether
// there was one. Without one it costs one indexed statement. Only channels that
// were to hear of the firing hear of it.
func (a *Alerts) Resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string) (bool, error) {
	return a.resolve(ctx, tx, rule, subject, reason, func(time.Time) bool { return true })
}

// ResolveSeenBefore is Resolve for what a moment of the database's clock settles: an
// episode that was seen at it or later stays open.
func (a *Alerts) ResolveSeenBefore(ctx context.Context, tx pgx.Tx, rule, subject string, moment time.Time, reason string) (bool, error) {
	return a.resolve(ctx, tx, rule, subject, reason, moment.After)
}

func (a *Alerts) resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string, over func(lastSeen time.Time) bool) (bool, error) {
	open, err := a.queries.AlertLockOpen(ctx, tx, fingerprint(rule, subject))
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an open episode of %s: %w", rule, err)
	}
	if !over(open.LastSeen) {
		return false, nil
	}
	_, err = a.close(ctx, tx, open.ID, actor{actor: service, reason: text.Line(reason, maxReason)})
	return true, err
}

// close resolves an episode that the caller has locked.
func (a *Alerts) close(ctx context.Context, tx pgx.Tx, id int64, who actor) (dbsqlc.Alert, error) {
	done, err := a.queries.AlertClose(ctx, tx, id)
	if err != nil {
		return done, fmt.Errorf("resolve alert %d: %w", id, err)
	}
	lvl, err := level.Parse(done.Level)
	if err != nil {
		return done, fmt.Errorf("read alert %d: %w", id, err)
	}
	lasted := done.ResolvedAt.Sub(done.FirstSeen).Seconds()
	if err := a.append(ctx, tx, id, "resolved", lvl, who, fact{Occurrences: done.Occurrences, Seconds: &lasted}); err != nil {
		return done, err
	}
	return done, a.outbox.Enqueue(ctx, tx, id, lvl, notify.Resolved)
}
