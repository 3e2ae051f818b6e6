package mirror

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/level"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
	"dealbox/internal/strapi"
)

// replica is another process on the same database, with these fields of deals mapped by name.
func (h *env) replica(fields map[string]string) *env {
	types := slices.Clone(strapitest.Types)
	types[0].Fields = maps.Clone(types[0].Fields)
	maps.Copy(types[0].Fields, fields)
	types[0].Explicit = slices.Sorted(maps.Keys(fields))
	other := *h
	other.sync = NewSyncWorker(h.Pool, h.queue, NewSource(h.Pool, h.Client, h.Breaker, h.Policy, types), h.Forecast, h.Alerts, Config{
		Types: types, MaxAttempts: 3, Logger: slog.New(slog.DiscardHandler), RecordTimeout: time.Minute,
	})
	return &other
}

// waits requires that a document is neither written nor blamed.
func (h *env) waits(key Key) {
	h.T.Helper()
	var snooze *river.JobSnoozeError
	h.sync.paused.clear(key.UID)
	require.ErrorAs(h.T, h.refresh(key), &snooze)
	require.Zero(h.T, h.Entity(key).Failures)
	require.Equal(h.T, "pending", h.Entity(key).State)
}

// recheck makes the next check ask for everything.
func (h *env) recheck() {
	for _, k := range h.sync.source.attributes.types {
		k.checked = time.Time{}
	}
}

// An attribute that Strapi has shown and does not show any more says something about its
// type: nothing is written to it, on no replica, until it is back or mapped otherwise.
func TestSync_MissingAttribute(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	keys := h.fill(3)
	billing := h.Billing(keys[0])
	require.NoError(t, h.refresh(billing))
	require.NoError(t, h.sync.watchOnce(t.Context()))

	h.Fake.Hide(fakestrapi.DealUID, "deal_value", "owner")
	_, err := h.Fake.Update(keys[0].UID, keys[0].DocumentID, fakestrapi.Values{"name": "changed"})
	require.NoError(t, err)
	restarted := h.replica(nil)
	for _, r := range []*env{h, restarted} {
		for _, key := range keys {
			r.waits(key)
		}
		require.NoError(t, r.refresh(billing), "another type goes on")
		require.NoError(t, r.sync.watchOnce(t.Context()))
		require.Positive(t, r.sync.paused.left(fakestrapi.DealUID))
	}
	require.Equal(t, map[string]string{"attribute_missing": "critical"}, h.OpenAlerts())
	require.Equal(t, "3 10.5 deal 0", h.MustText("SELECT concat_ws(' ', count(*), min(deal_value), min(name)) FROM deal WHERE deal_value IS NOT NULL"))
	message := h.MustText("SELECT message FROM alert")
	for _, words := range []string{"deal_value, owner of pipeline-deals", "deal.deal_value, deal.owner", "STRAPI_DEAL_FIELDS=deal_value=new_name", "keep the values of ", "STRAPI_DEAL_FIELDS=deal_value=."} {
		require.Contains(t, message, words)
	}

	// Mapped to nothing, the type goes on without it.
	without := h.replica(map[string]string{"owner": "", "deal_value": ""})
	require.NoError(t, without.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	const lost = "SELECT count(*) FROM strapi_attribute WHERE seen_at IS NOT NULL AND absent_since IS NOT NULL"
	require.Zero(t, pgtest.MustGet[int](h.DB, lost), "the forecast waits for neither")

	h.waits(keys[0])
	h.Fake.Hide(fakestrapi.DealUID)
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts(), "it heals by itself")
	require.Zero(t, pgtest.MustGet[int](h.DB, lost))
	h.drain()
	require.Equal(t, "changed", h.MustText("SELECT name FROM deal WHERE document_id = $1", keys[0].DocumentID))
}

// Where the token may not read the other side of a relation, Strapi leaves the relation
// out. That speaks about the token: no link is lost, no attempt counts, and it is one alert.
func TestSync_HiddenRelation(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deal := h.fill(1)[0]
	billing := h.Billing(deal)
	require.NoError(t, h.refresh(billing))
	require.NoError(t, h.refresh(deal))

	h.Fake.Forbid(fakestrapi.DealUID)
	for range 2 {
		h.waits(billing)
		h.waits(deal)
		require.NoError(t, h.sync.watchOnce(t.Context()))
	}
	require.Equal(t, map[string]string{"strapi_token_refused": "critical"}, h.OpenAlerts())
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM billing WHERE deal_document_id IS NOT NULL"))

	h.Fake.Forbid()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	require.NoError(t, h.refresh(billing))
}

// An attribute that the type never had is null, and costs its requests only once. Strapi
// refuses it by name also where there is no document yet.
func TestSync_UnknownAttributes(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts)
	h.Fake.Hide(fakestrapi.DealUID, "owner", "stage", "confidence_override")
	h = h.replica(map[string]string{"stage": "phase", "name": "name"})
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Equal(t, map[string]string{"attribute_unknown": "warning"}, h.OpenAlerts())
	require.Contains(t, h.MustText("SELECT message FROM alert"), "STRAPI_DEAL_FIELDS maps stage to phase, which Strapi has never shown of pipeline-deals")

	deal := h.Deal(fakestrapi.Values{"name": "deal", "owner": "ada", "deal_value": json.Number("5")})
	h.Fake.Requests.Reset()
	require.NoError(t, h.refresh(deal))
	require.Equal(t, 1, h.Fake.Requests.Counts().Gets(), "what Strapi refuses is known, and what is not mirrored is not named")
	require.Equal(t, "deal 5 ", h.MustText("SELECT concat(name, ' ', deal_value, ' ', owner) FROM deal"))

	h.Fake.Hide(fakestrapi.DealUID, "stage", "confidence_override")
	h.recheck()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.NoError(t, h.refresh(deal))
	require.Equal(t, "deal 5 ada", h.MustText("SELECT concat(name, ' ', deal_value, ' ', owner) FROM deal"), "an attribute that was added is found")

	corrected := h.replica(map[string]string{"stage": ""})
	require.NoError(t, corrected.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
}

// Strapi can hide the times of all documents. The mirror goes on, and lists are not cut by them.
func TestSync_HiddenTimes(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deal := h.fill(1)[0]
	h.Fake.Hide(fakestrapi.DealUID, "updatedAt", "createdAt")
	require.NoError(t, h.refresh(deal))
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE strapi_updated_at IS NULL AND deal_value = 10.5"))
	breaker, err := h.sync.source.Breaker(t.Context())
	require.NoError(t, err)
	page, err := h.sync.source.List(t.Context(), strapitest.Types[0], strapi.ListQuery{Version: strapi.Published, PageSize: 10, Since: time.Now().Add(time.Hour)}, breaker)
	require.NoError(t, err)
	require.Len(t, page.Documents, 1, "a delta reads the whole type")
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Contains(t, h.MustText("SELECT message FROM alert WHERE resolved_at IS NULL"), "Strapi hides updatedAt of pipeline-deals")
}

// A path leads into components, several through one; what Strapi does not show on the way is missing.
func TestSync_Paths(t *testing.T) {
	t.Parallel()
	unit := fakestrapi.Attribute{Name: "unit", Kind: fakestrapi.Component, Of: []fakestrapi.Attribute{{Name: "code", Kind: fakestrapi.String}}}
	h := newEnv(t, func(c *strapitest.Config) {
		c.Strapi.Types[0].Attributes = append(c.Strapi.Types[0].Attributes,
			fakestrapi.Attribute{Name: "money", Kind: fakestrapi.Component, Of: []fakestrapi.Attribute{{Name: "amount", Kind: fakestrapi.Decimal}, {Name: "chance", Kind: fakestrapi.Decimal}, unit}})
	}).replica(map[string]string{"deal_value": "money.amount", "probability": "money.chance", "currency": "money.unit.code", "stage": "money.stage"})
	deal := func(money string) Key {
		return h.Deal(fakestrapi.Values{"name": "deal", "money": json.RawMessage(money)})
	}
	first := deal(`{"id":1,"amount":5.5,"chance":40,"unit":{"code":"THB"}}`)
	require.NoError(t, h.refresh(first))
	read := func(key Key) string {
		return h.MustText("SELECT concat_ws(' ', deal_value, probability, currency) FROM deal WHERE document_id = $1", key.DocumentID)
	}
	require.Equal(t, "5.5 40 THB", read(first))
	empty := deal(`null`)
	require.NoError(t, h.refresh(empty))
	require.Empty(t, read(empty))
	several := deal(`[{"amount":5},{"amount":6}]`)
	require.NoError(t, h.refresh(several))
	require.Empty(t, read(several))
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Equal(t, map[string]string{"value_unreadable": "warning", "attribute_unknown": "warning"}, h.OpenAlerts())

	require.NoError(t, h.replica(map[string]string{"deal_value": "", "probability": "", "currency": "", "stage": ""}).sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts(), "what is mapped to nothing is no longer a warning")

	h.Fake.Hide(fakestrapi.DealUID, "money")
	h.waits(first)
	require.Equal(t, "5.5 40 THB", read(first))
	require.Contains(t, h.MustText("SELECT message FROM alert WHERE rule = 'attribute_missing'"), "money.amount, money.unit.code, money.chance of pipeline-deals")
}

// A relation that Strapi refuses by name holds its type from the first request on: without
// it every billing would lose its deal.
func TestSync_RefusedRelation(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.Fake.Hide(fakestrapi.BillingUID, "deal")
	billing := h.Billing(h.Deal(nil))
	h.waits(billing)
	require.Equal(t, map[string]string{"attribute_missing": "critical"}, h.OpenAlerts())
	require.Contains(t, h.MustText("SELECT message FROM alert"), "deal of billings (api::billing.billing), which Dealbox mirrors as billing.deal_document_id")
	require.Contains(t, h.MustText("SELECT message FROM alert"), "STRAPI_BILLING_FIELDS=deal=.")
	h.Fake.Hide(fakestrapi.BillingUID)
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	require.NoError(t, h.refresh(billing))
}

// A type that left the settings keeps neither the forecast waiting nor an alert open.
func TestWatch_ForgetsTypesThatLeftTheSettings(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	keys := h.fill(2)
	h.Fake.Hide(fakestrapi.DealUID, "deal_value")
	h.waits(keys[0])
	require.NoError(t, h.sync.watchOnce(t.Context()))
	h.MustExec("INSERT INTO deletion_guard (uid, tripped_at) VALUES ($1, now())", fakestrapi.DealUID)
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		for _, subject := range []string{"pipeline-deals", "billings"} {
			_, err := h.Alerts.Raise(ctx, tx, alerting.Alert{Rule: alerting.RuleUnreadableRows, Subject: subject, Level: level.Warning, Message: "x"})
			if err != nil {
				return err
			}
		}
		for _, subject := range []string{alerting.SubjectUnnamedOf("pipeline-deals"), alerting.SubjectUnnamed} {
			if _, err := h.Alerts.Raise(ctx, tx, alerting.Alert{Rule: alerting.RuleBodyQuarantined, Subject: subject, Level: level.Warning, Message: "x"}); err != nil {
				return err
			}
		}
		return nil
	})
	held := func() string {
		return h.MustText("SELECT concat_ws(' ', count(*), (SELECT count(*) FROM deletion_guard WHERE tripped_at IS NOT NULL)) FROM strapi_attribute WHERE absent_since IS NOT NULL AND seen_at IS NOT NULL")
	}
	require.Equal(t, "1 1", held())
	require.Contains(t, h.OpenAlerts(), "attribute_missing")

	types := strapitest.Types[1:]
	other := NewSyncWorker(h.Pool, h.queue, NewSource(h.Pool, h.Client, h.Breaker, h.Policy, types), h.Forecast, h.Alerts, Config{
		Types: types, MaxAttempts: 3, Logger: slog.New(slog.DiscardHandler), RecordTimeout: time.Minute,
	})
	require.NoError(t, other.watchOnce(t.Context()))
	require.Equal(t, "0 0", held())
	require.Equal(t, []string{"billings", alerting.SubjectUnnamed}, h.MustTexts("SELECT subject FROM alert WHERE resolved_at IS NULL ORDER BY subject"))
	require.Contains(t, h.MustText("SELECT message FROM alert WHERE rule = 'attribute_missing'"), "no longer in Dealbox's settings")
}
