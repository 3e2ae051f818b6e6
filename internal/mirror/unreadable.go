package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/strapi"
)

// unreadableByField returns what entity_sync.unreadable becomes: null for most
// documents, which then cost nothing more. A draft is not finished and counts for
// nothing, so its values are nobody's fault.
func (c change) unreadableByField() []byte {
	reasons := c.reasons()
	if len(reasons) == 0 {
		return nil
	}
	raw, err := json.Marshal(reasons)
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (c change) reasons() map[string]string {
	if !c.found || c.version != strapi.Published || len(c.unreadable) == 0 {
		return nil
	}
	reasons := map[string]string{}
	for _, u := range c.unreadable {
		reasons[u.Field] = u.Attribute + " " + u.Reason
	}
	return reasons
}

// reportUnreadable makes the document a member of the episodes about its values that
// cannot be read, one a type and field, and takes it out of those that it left. It
// comes after every document's lock, as it locks the episodes.
func (w *SyncWorker) reportUnreadable(ctx context.Context, tx pgx.Tx, c change) error {
	now, before := c.reasons(), map[string]string{}
	if len(now) == 0 && c.row.Unreadable == nil {
		return nil
	}
	if c.row.Unreadable != nil {
		if err := json.Unmarshal(c.row.Unreadable, &before); err != nil {
			return fmt.Errorf("read entity_sync.unreadable of %s: %w", c.key, err)
		}
	}
	both := maps.Clone(before)
	maps.Copy(both, now)
	for _, field := range slices.Sorted(maps.Keys(both)) {
		var err error
		switch reason, unreadable := now[field]; {
		case unreadable && reason != before[field]:
			err = w.raiseUnreadable(ctx, tx, c, field, reason)
		case !unreadable:
			_, err = w.alerts.Leave(ctx, tx, alerting.RuleValueUnreadable, unreadableSubject(c.t, field), c.key.String(), c.outcome())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *SyncWorker) raiseUnreadable(ctx context.Context, tx pgx.Tx, c change, field, reason string) error {
	_, err := w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleValueUnreadable, Subject: unreadableSubject(c.t, field), Level: level.Warning,
		Member: &alerting.Member{
			Key: c.key.String(), Name: c.name(), Reason: reason, Link: w.alerts.DocumentURL(c.key.UID, c.key.DocumentID, c.key.Locale),
		},
	})
	return err
}

func unreadableSubject(t strapi.ContentType, field string) string { return t.Plural + "." + field }

// outcome says why a document leaves such an episode.
func (c change) outcome() string {
	switch {
	case !c.found:
		return "deleted in Strapi"
	case c.version != strapi.Published:
		return "unpublished"
	}
	return "corrected"
}

// name returns the document's name for people, "" when it has none.
func (c change) name() string {
	for _, name := range []*string{c.deal.Name, c.deal.DealID, c.billing.BillingID} {
		if name != nil && *name != "" {
			return *name
		}
	}
	return ""
}
