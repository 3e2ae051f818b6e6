package alerting

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

// inhibits says which rules an open episode of a rule accounts for: they are its
// consequences, so they are kept and counted, but not told as long as it is open.
// None of them inhibits another one, so no chain can mute an outage as a whole.
var inhibits = map[string][]string{
	// Strapi is away: what asks it fails, and what waits for it grows old.
	RuleBreakerOpened:      {RuleEventDeadLettered, RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
	RuleStrapiTokenRefused: {RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
	// Postgres was away: what was refused meanwhile is found missing. Only a full
	// reconciliation ends it, so it must not hide that reconciliation fails, nor
	// that nothing moves: neither can be written while Postgres is away.
	RuleWebhooksRefused: {RuleLostWebhooks},
}

// inhibitors are the rules that explain the given one.
func inhibitors(rule string) []string {
	var all []string
	for by, those := range inhibits {
		for _, r := range those {
			if r == rule {
				all = append(all, by)
			}
		}
	}
	return all
}

// mute is what keeps an episode from being told. At most one of the two is used:
// a silence, which a person wanted, goes first.
type mute dbsqlc.AlertMuteRow

func (m mute) is() bool { return m.SilenceID != 0 || m.InhibitorID != 0 }

func (a *Alerts) muted(ctx context.Context, tx pgx.Tx, rule, subject string) (mute, error) {
	row, err := a.queries.AlertMute(ctx, tx, dbsqlc.AlertMuteParams{Rule: rule, Subject: subject, Inhibitors: inhibitors(rule)})
	if err != nil {
		return mute{}, fmt.Errorf("look for what mutes %s: %w", rule, err)
	}
	if row.SilenceID != 0 {
		row.InhibitorID = 0
	}
	return mute(row), nil
}

// recordMute writes what is not told, and why, into the history and the outbox.
func (a *Alerts) recordMute(ctx context.Context, tx pgx.Tx, id int64, lvl level.Level, reason notify.Reason, m mute) error {
	kind, who, because := "suppressed", actor{actor: service}, notify.Inhibition
	happened := fact{SilenceID: m.SilenceID, InhibitorID: m.InhibitorID}
	if m.SilenceID != 0 {
		s, err := a.queries.SilenceGet(ctx, tx, m.SilenceID)
		if err != nil {
			return fmt.Errorf("read silence %d: %w", m.SilenceID, err)
		}
		kind, who, because = "silenced", actor{actor: s.Author, reason: s.Comment}, notify.Silenced
		happened.ExpiresAt = &s.ExpiresAt
	} else {
		cause, err := a.queries.AlertGet(ctx, tx, m.InhibitorID)
		if err != nil {
			return fmt.Errorf("read alert %d: %w", m.InhibitorID, err)
		}
		who.reason = fmt.Sprintf("alert %d (%s) explains it", cause.ID, cause.Rule)
	}
	if err := a.append(ctx, tx, id, kind, lvl, who, happened); err != nil {
		return err
	}
	return a.outbox.EnqueueSuppressed(ctx, tx, id, lvl, reason, because)
}

// suppress mutes an open episode that the caller has locked.
func (a *Alerts) suppress(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, reason notify.Reason, m mute) error {
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	err = a.queries.AlertSuppress(ctx, tx, dbsqlc.AlertSuppressParams{ID: row.ID, SilenceID: m.SilenceID, InhibitorID: m.InhibitorID})
	if err != nil {
		return fmt.Errorf("suppress alert %d: %w", row.ID, err)
	}
	return a.recordMute(ctx, tx, row.ID, lvl, reason, m)
}
