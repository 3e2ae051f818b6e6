package alerting

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// Raise opens an episode of a rule and subject, or adds an occurrence to the open
// one, and returns its id. A member joins the episode. A higher level escalates
// it; a lower one does not calm it. The first occurrence and each escalation are
// notified, unless a silence or another episode mutes them.
//
// It locks the episode's row until tx ends, so raise last in a transaction, and
// several alerts in the order of their subjects.
func (a *Alerts) Raise(ctx context.Context, tx pgx.Tx, alert Alert) (int64, error) {
	o, err := alert.occurrence()
	if err != nil {
		return 0, err
	}
	row, err := a.queries.AlertLockOrOpen(ctx, tx, dbsqlc.AlertLockOrOpenParams{
		Fingerprint: o.fingerprint, Rule: o.rule, Subject: o.subject, Level: o.level.String(), Message: o.message,
	})
	if err != nil {
		return 0, fmt.Errorf("lock or open the episode of %s: %w", alert.Rule, err)
	}
	next, err := decide(row, o.level)
	if err != nil {
		return 0, err
	}
	var m mute
	if next.notice != "" {
		if m, err = a.muteOf(ctx, tx, row.Rule, row.Subject); err != nil {
			return 0, err
		}
	}
	joined, err := a.save(ctx, tx, &row, o, next, m)
	if err != nil {
		return 0, err
	}
	if err := a.report(ctx, tx, row, next, joined, m); err != nil {
		return 0, err
	}
	if next.kind == "raised" {
		err = a.inhibit(ctx, tx, row)
	}
	return row.ID, err
}

// inhibit mutes the effects of an episode that has just begun and whose first notice
// still waits: an effect can be noticed a moment before its cause. Effects that somebody
// was notified of stay as they are.
func (a *Alerts) inhibit(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert) error {
	rules := ruleOf(row.Rule).Inhibits
	if len(rules) == 0 {
		return nil
	}
	effects, err := a.queries.AlertLockUnnotified(ctx, tx, rules)
	if err != nil {
		return fmt.Errorf("find the effects of alert %d: %w", row.ID, err)
	}
	for _, effect := range effects {
		if err := a.suppress(ctx, tx, effect, mute{InhibitorID: row.ID, Inhibitor: row.Rule}); err != nil {
			return err
		}
	}
	return nil
}

// change is what an occurrence does to an episode.
type change struct {
	kind        string      // of its history row
	from, level level.Level // before and after
	notice      notify.Reason
}

// decide compares the level of an occurrence with that of its episode. An episode
// that is muted already escalates without a notice: if it outlives what mutes it,
// it is notified with its new level.
func decide(row dbsqlc.Alert, raised level.Level) (change, error) {
	before, err := level.Parse(row.Level)
	switch {
	case err != nil:
		return change{}, fmt.Errorf("read alert %d: %w", row.ID, err)
	case row.Occurrences == 0:
		return change{kind: "raised", level: raised, notice: notify.First}, nil
	case raised <= before:
		return change{kind: "repeated", level: before}, nil
	case Status(row.Status) == Suppressed:
		return change{kind: "escalated", from: before, level: raised}, nil
	}
	return change{kind: "escalated", from: before, level: raised, notice: notify.Escalated}, nil
}

func (a *Alerts) muteOf(ctx context.Context, tx pgx.Tx, rule, subject string) (mute, error) {
	row, err := a.queries.AlertMute(ctx, tx, dbsqlc.AlertMuteParams{Rule: rule, Subject: subject, Inhibitors: inhibitorsOf(rule)})
	if err != nil {
		return mute{}, fmt.Errorf("read what mutes %s: %w", rule, err)
	}
	return mute(row), nil
}

// save writes the occurrence into the episode's row, which the caller has locked. It
// returns the history row of a member that has joined, nil when none has.
func (a *Alerts) save(ctx context.Context, tx pgx.Tx, row *dbsqlc.Alert, o occurrence, next change, m mute) (joined *record, err error) {
	row.Occurrences++
	row.Level = next.level.String()
	row.Message, row.Details = text.Line(strings.ReplaceAll(o.message, since, notify.Clock(row.FirstSeen)), maxMessage), o.details
	if o.member != nil {
		if joined, err = a.join(ctx, tx, row, *o.member); err != nil {
			return nil, err
		}
	}
	switch {
	case m.exists():
		row.Status, row.SilenceID, row.InhibitorID = string(Suppressed), id(m.SilenceID), id(m.InhibitorID)
	case next.notice == notify.Escalated: // what somebody had acknowledged was less
		row.Status = string(Firing)
	}
	err = a.queries.AlertSave(ctx, tx, dbsqlc.AlertSaveParams{
		ID: row.ID, Occurrences: row.Occurrences, Members: row.Members, Level: row.Level, Status: row.Status,
		SilenceID: row.SilenceID, InhibitorID: row.InhibitorID, Message: row.Message, Details: row.Details,
		Notified: next.notice != "" && !m.exists() && a.outbox.HasChannels(),
	})
	if err != nil {
		return nil, fmt.Errorf("save alert %d: %w", row.ID, err)
	}
	return joined, nil
}

// id returns null for 0.
func id(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// report appends what happened to the history and requests the notifications.
func (a *Alerts) report(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, next change, joined *record, m mute) error {
	if next.kind != "repeated" || joined == nil {
		v := values{Message: row.Message, Details: row.Details, Occurrences: row.Occurrences}
		if next.from != 0 {
			v.From = next.from.String()
		}
		if err := a.append(ctx, tx, row.ID, record{kind: next.kind, level: next.level, values: v}); err != nil {
			return err
		}
	}
	if joined != nil {
		joined.level = next.level
		if err := a.append(ctx, tx, row.ID, *joined); err != nil {
			return err
		}
	}
	if next.notice == "" {
		return nil
	}
	return a.notify(ctx, tx, row.ID, next.level, next.notice, m)
}

// notify requests the notifications of an episode, or records what mutes them.
func (a *Alerts) notify(ctx context.Context, tx pgx.Tx, id int64, lvl level.Level, reason notify.Reason, m mute) error {
	if !m.exists() {
		return a.outbox.Enqueue(ctx, tx, id, lvl, reason)
	}
	r, why := record{kind: "suppressed", level: lvl}, notify.Inhibition
	r.SilenceID, r.InhibitorID = m.SilenceID, m.InhibitorID
	if m.SilenceID != 0 {
		r.kind, why = "silenced", notify.Silenced
		r.cause, r.ExpiresAt = cause{actor: m.Author, reason: m.Comment}, &m.ExpiresAt
	} else {
		r.reason = fmt.Sprintf("alert %d (%s) is its cause", m.InhibitorID, m.Inhibitor)
	}
	if err := a.append(ctx, tx, id, r); err != nil {
		return err
	}
	return a.outbox.EnqueueSuppressed(ctx, tx, id, lvl, reason, why)
}

// mute is what keeps an episode from being notified: a silence or, when there is
// none, an open episode that inhibits it. The zero value is neither.
type mute dbsqlc.AlertMuteRow

func (m mute) exists() bool { return m.SilenceID != 0 || m.InhibitorID != 0 }
