// Package alerting keeps what is wrong: one row an episode, from the first time
// that a rule fires for a subject until it resolves, and an append-only history.
// Alerts are raised in the transaction of the fact that they tell, and so are
// their notifications: there is no fact without its alert, no alert without its
// fact, and no notification of something that was rolled back.
package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// actor is who the history names for what the service does by itself.
const actor = "dealbox"

// Config of Alerts.
type Config struct {
	// RepeatEvery is how long an episode's history stays quiet about repeats.
	// 5,000 repeats of one episode are one row whose occurrences grow, not 5,000
	// rows of history: a repeat is recorded only when the episode's last history
	// row is older than this. 0 means one minute.
	RepeatEvery time.Duration
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
	return &Alerts{config: c, outbox: outbox, queries: dbsqlc.New()}
}

// Raise opens an episode, or adds an occurrence to the one that is open, and
// answers its id. A higher level escalates the episode; a lower one does not
// calm it. The first time and each escalation are notified.
//
// It locks the episode's row until tx ends, so raise last in a transaction, and
// several alerts in the order of their subjects.
func (a *Alerts) Raise(ctx context.Context, tx pgx.Tx, alert Alert) (int64, error) {
	if err := alert.check(); err != nil {
		return 0, err
	}
	p := params(alert)
	for {
		open, err := a.queries.AlertLockOpen(ctx, tx, p.Fingerprint)
		if err == nil {
			return open.ID, a.again(ctx, tx, open, alert.Level, p)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, fmt.Errorf("look for an open episode of %s: %w", p.Rule, err)
		}
		id, err := a.queries.AlertOpen(ctx, tx, p)
		if err == nil {
			return id, a.first(ctx, tx, id, alert.Level, p)
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
		Rule:        notify.Line(alert.Rule, maxRule),
		Subject:     fit(alert.Subject),
		Level:       alert.Level.String(),
		Message:     notify.Line(alert.Message, maxMessage),
		Details:     encodeDetails(alert.Details),
	}
}

// first tells the history and the channels of a new episode.
func (a *Alerts) first(ctx context.Context, tx pgx.Tx, id int64, level Level, p dbsqlc.AlertOpenParams) error {
	err := a.append(ctx, tx, id, "raised", level, "", fact{Message: p.Message, Details: p.Details, Occurrences: 1})
	if err != nil {
		return err
	}
	return a.outbox.Enqueue(ctx, tx, id, int(level), notify.First)
}

// again adds an occurrence to an open episode.
func (a *Alerts) again(ctx context.Context, tx pgx.Tx, open dbsqlc.AlertLockOpenRow, level Level, p dbsqlc.AlertOpenParams) error {
	before, err := ParseLevel(open.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", open.ID, err)
	}
	now := max(before, level)
	n, err := a.queries.AlertRepeat(ctx, tx, dbsqlc.AlertRepeatParams{
		ID: open.ID, Level: now.String(), Message: p.Message, Details: p.Details,
	})
	if err != nil {
		return fmt.Errorf("repeat alert %d: %w", open.ID, err)
	}
	happened := fact{Message: p.Message, Details: p.Details, Occurrences: n}
	if now == before {
		return a.appendRepeat(ctx, tx, open.ID, now, happened)
	}
	happened.From = before.String()
	if err := a.append(ctx, tx, open.ID, "escalated", now, "", happened); err != nil {
		return err
	}
	return a.outbox.Enqueue(ctx, tx, open.ID, int(now), notify.Escalated)
}

// Resolve closes the open episode of a rule and subject and answers whether
// there was one. Without one it costs one indexed statement. Only channels that
// were to hear of the firing hear of it.
func (a *Alerts) Resolve(ctx context.Context, tx pgx.Tx, rule, subject, reason string) (bool, error) {
	done, err := a.queries.AlertResolve(ctx, tx, fingerprint(rule, subject))
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("resolve %s: %w", rule, err)
	}
	level, err := ParseLevel(done.Level)
	if err != nil {
		return false, fmt.Errorf("read alert %d: %w", done.ID, err)
	}
	lasted := done.ResolvedAt.Sub(done.FirstSeen).Seconds()
	happened := fact{Occurrences: done.Occurrences, Seconds: &lasted}
	if err := a.append(ctx, tx, done.ID, "resolved", level, notify.Line(reason, maxReason), happened); err != nil {
		return false, err
	}
	return true, a.outbox.Enqueue(ctx, tx, done.ID, int(level), notify.Resolved)
}

// fact are the values that a history row keeps: the episode's row forgets them
// when the rule fires again.
type fact struct {
	From        string          `json:"from,omitempty"` // the level before an escalation
	Message     string          `json:"message,omitempty"`
	Details     json.RawMessage `json:"details,omitempty"`
	Occurrences int64           `json:"occurrences"`
	Seconds     *float64        `json:"seconds,omitempty"` // from first_seen to resolved_at
}

func (f fact) encode() []byte {
	encoded, _ := json.Marshal(f) // Clean texts, numbers and JSON of our own: it cannot fail.
	return encoded
}

func (a *Alerts) append(ctx context.Context, tx pgx.Tx, id int64, kind string, level Level, reason string, f fact) error {
	err := a.queries.AlertEventAppend(ctx, tx, dbsqlc.AlertEventAppendParams{
		AlertID: id, Kind: kind, Level: level.String(), Actor: actor, Reason: reason, Details: f.encode(),
	})
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", id, err)
	}
	return nil
}

func (a *Alerts) appendRepeat(ctx context.Context, tx pgx.Tx, id int64, level Level, f fact) error {
	err := a.queries.AlertEventAppendRepeat(ctx, tx, dbsqlc.AlertEventAppendRepeatParams{
		AlertID: id, Level: level.String(), Actor: actor, Details: f.encode(), QuietSeconds: a.config.RepeatEvery.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", id, err)
	}
	return nil
}
