package reconcile

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/level"
	"dealbox/internal/pgtest"
)

// A type whose list fails keeps no other from being compared, and loses nothing by it: its
// ghosts stay, its watermark stands still, and it is compared in full as soon as it is back.
func TestTypes_EachByItself(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(5)
	billing := h.Billing(deals[0])
	h.sweep(Request{Extent: Full})
	h.drain()
	mark := func(uid string) string {
		return h.MustText(`SELECT concat_ws(' ', kind, status, since IS NOT NULL) FROM reconciliation_type WHERE uid = $1 ORDER BY run_id DESC LIMIT 1`, uid)
	}
	for _, fault := range []fakestrapi.Fault{
		{Kind: fakestrapi.FaultMissingRoute}, {Kind: fakestrapi.FaultHTML}, {Kind: fakestrapi.FaultForbidden},
		{Kind: fakestrapi.FaultStatus, Status: 500}, {Kind: fakestrapi.FaultTruncated}, {Kind: fakestrapi.FaultNullData},
	} {
		fault.Plural = "pipeline-deals" // the first type
		h.Fake.Faults.Set(fault)
		require.NoError(t, h.Fake.SilentEdit(fakestrapi.BillingUID, billing.DocumentID, fakestrapi.Values{"billing_id": fault.Kind}))
		run := h.sweep(Request{Extent: Full})
		require.Equal(t, "partial", run.Status, fault.Kind)
		require.Contains(t, *run.Error, "pipeline-deals: list pipeline-deals: ")
		h.drain()
		require.Equal(t, string(fault.Kind), h.MustText("SELECT billing_id FROM billing"), "the other type was compared")
		require.Equal(t, "full failed", h.MustText("SELECT concat_ws(' ', kind, status) FROM reconciliation_type WHERE run_id = $1 AND uid = $2", run.ID, fakestrapi.DealUID))
		require.Equal(t, "pipeline-deals", h.MustText("SELECT string_agg(subject, ' ') FROM alert WHERE rule = 'reconciliation_failing' AND resolved_at IS NULL"))
	}
	require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, deals[1].DocumentID))
	require.Equal(t, "partial", h.sweep(Request{Extent: Delta}).Status)
	require.Equal(t, "full failed f", mark(fakestrapi.DealUID), "a delta tries the whole type again")
	require.Equal(t, "delta done t", mark(fakestrapi.BillingUID))
	require.Equal(t, 5, h.LiveDeals())

	h.Fake.Faults.Clear()
	require.Equal(t, "done", h.sweep(Request{Extent: Delta}).Status)
	require.Equal(t, "full done f", mark(fakestrapi.DealUID))
	h.drain()
	require.Equal(t, 4, h.LiveDeals())
	require.NotContains(t, h.OpenAlerts(), "reconciliation_failing")
	h.sweep(Request{Extent: Delta})
	require.Equal(t, "delta done t", mark(fakestrapi.DealUID))
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_staged"))

	// Deltas that fail move no watermark.
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultForbidden, Plural: "pipeline-deals"})
	before := h.MustText("SELECT max(since)::text FROM reconciliation_type WHERE uid = $1 AND status = 'done'", fakestrapi.DealUID)
	h.sweep(Request{Extent: Delta})
	h.sweep(Request{Extent: Delta})
	require.LessOrEqual(t, h.MustText("SELECT max(since)::text FROM reconciliation_type WHERE uid = $1 AND status = 'failed'", fakestrapi.DealUID),
		h.MustText("SELECT max(least(answered_at, started_at))::text FROM reconciliation_type WHERE uid = $1 AND status = 'done'", fakestrapi.DealUID))
	require.NotEmpty(t, before)
}

// A run can be limited to some types. It is not the full run of the schedule.
func TestTypes_Limited(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(3)
	h.Billing(deals[0])
	require.NoError(t, h.Fake.SilentEdit(fakestrapi.DealUID, deals[0].DocumentID, fakestrapi.Values{"name": "edited"}))
	run := h.sweep(Request{Extent: Full, Types: []string{fakestrapi.BillingUID}})
	require.Equal(t, [3]int64{1, 1, 0}, [3]int64{run.Listed, run.Missing, run.Stale})
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM reconciliation_type WHERE run_id = $1", run.ID))

	one := h.request(Request{Extent: Full, Trigger: TriggerSchedule, Types: []string{fakestrapi.BillingUID}})
	require.Equal(t, one, h.request(Request{Extent: Full, Trigger: TriggerDemand, Types: []string{fakestrapi.DealUID}}))
	require.Equal(t, "demand 2", h.MustText("SELECT concat_ws(' ', trigger, cardinality(types)) FROM reconciliation_run WHERE id = $1", one))
	h.request(Request{Extent: Full, Trigger: TriggerDemand})
	require.Equal(t, "all", h.MustText("SELECT coalesce(types::text, 'all') FROM reconciliation_run WHERE id = $1", one))
}

// Rows that are no documents are skipped and named; all others are mirrored. As long as there
// is one, no deletion of the type is concluded: it may be the missing document.
func TestOddRows(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(10)
	var ids []string
	for _, raw := range []string{
		`{"id":%id,"documentId":null,"name":"x"}`, `{"id":%id,"documentId":""}`, `{"id":%id,"documentId":{"a":1}}`, `{"documentId":"noid"}`, `null`, `"row"`,
		`{"id":%id,"documentId":"` + fmt.Sprintf("%0300d", 1) + `"}`,
	} {
		id, err := h.Fake.AddOddRow(fakestrapi.DealUID, raw)
		require.NoError(t, err)
		ids = append(ids, fmt.Sprint(id))
	}
	h.Deal(fakestrapi.Values{"name": "behind them"})
	require.NoError(t, h.Fake.SilentEdit(fakestrapi.DealUID, deals[1].DocumentID, fakestrapi.Values{"name": "edited"}))
	require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, deals[2].DocumentID))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, "done", run.Status)
	require.Equal(t, [5]int64{10, 7, 1, 1, 0}, [5]int64{run.Listed, run.Odd, run.Missing, run.Stale, run.Ghosts})
	h.drain()
	require.Equal(t, 11, h.LiveDeals())
	require.Equal(t, "warning", h.OpenAlerts()["unreadable_rows"])
	require.NotContains(t, h.OpenAlerts(), "reconciliation_failing")
	message := h.MustText("SELECT message || details::text FROM alert WHERE rule = 'unreadable_rows' AND subject = 'pipeline-deals'")
	require.Contains(t, message, "pipeline-deals")
	require.Contains(t, message, "7 in all, row id "+strings.Join(ids[:3], ", ")+", "+ids[6]+" and 3 more")

	require.NoError(t, h.Fake.RemoveOddRows(fakestrapi.DealUID))
	require.Equal(t, int64(1), h.sweep(Request{Extent: Full}).Ghosts)
	h.drain()
	require.Equal(t, 10, h.LiveDeals())
	require.NotContains(t, h.OpenAlerts(), "unreadable_rows")
	h.requireInStep()
}

// What one row lacks and others show is null in that row: it does not hold its type. What
// all rows lack does.
func TestOddRows_WithoutAttribute(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(10)
	_, err := h.Fake.AddOddRow(fakestrapi.DealUID, `{"id":%id,"documentId":"lacks0many0attributes","name":"x","billings":[]}`)
	require.NoError(t, err)
	require.NoError(t, h.Fake.SilentEdit(fakestrapi.DealUID, deals[1].DocumentID, fakestrapi.Values{"name": "edited"}))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, "done", run.Status)
	require.Equal(t, [4]int64{11, 0, 1, 1}, [4]int64{run.Listed, run.Odd, run.Missing, run.Stale})
	require.NotContains(t, h.OpenAlerts(), "reconciliation_failing")
	h.Fake.Hide(fakestrapi.DealUID, "deal_value")
	h.sweep(Request{Extent: Full})
	require.Contains(t, h.OpenAlerts(), "reconciliation_failing")
}

// An empty mirror fills, whatever row comes first.
func TestOddRows_FirstContact(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	_, err := h.Fake.AddOddRow(fakestrapi.DealUID, `{"id":%id,"documentId":null}`)
	require.NoError(t, err)
	h.fill(3)
	require.Equal(t, 3, h.LiveDeals())
}

// A document that is published twice is one document. The mirror has what Strapi answers for
// it, and no run requests it again and again. It is named until it is published once.
func TestTwins(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(5)
	twin := deals[2]
	publishTwice := func(published time.Duration) {
		require.NoError(t, h.Fake.PublishTwice(fakestrapi.DealUID, twin.DocumentID, fakestrapi.Values{"name": "the other row"}, time.Now().Add(published)))
	}
	publishTwice(-time.Minute)
	for range 2 {
		run := h.sweep(Request{Extent: Full})
		require.Equal(t, "done", run.Status)
		require.Equal(t, [4]int64{5, 0, 0, 0}, [4]int64{run.Listed, run.Stale, run.Ghosts, run.Enqueued}, "the mirror has one of the two")
	}
	require.Equal(t, "deal 2", h.MustText("SELECT name FROM deal WHERE document_id = $1", twin.DocumentID))
	require.Equal(t, "warning", h.OpenAlerts()["published_twice"])
	message := h.MustText("SELECT message FROM alert WHERE rule = 'published_twice'")
	require.Contains(t, message, "published twice in Strapi: publish it again")
	require.Contains(t, message, `"deal 2" (`+twin.UID+"/"+twin.DocumentID+")")

	// The mirror has neither: one refresh brings what Strapi answers.
	h.MustExec("UPDATE deal SET name = 'neither' WHERE document_id = $1", twin.DocumentID)
	require.Equal(t, int64(1), h.sweep(Request{Extent: Full}).Enqueued)
	h.drain()
	require.Equal(t, "deal 2", h.MustText("SELECT name FROM deal WHERE document_id = $1", twin.DocumentID))

	_, err := h.Fake.Update(fakestrapi.DealUID, twin.DocumentID, fakestrapi.Values{"name": "published again"})
	require.NoError(t, err)
	h.sweep(Request{Extent: Full})
	h.drain()
	require.NotContains(t, h.OpenAlerts(), "published_twice")
	h.requireInStep()

	// A row that was published while the list was read has replaced the one before it: no twin.
	publishTwice(time.Minute)
	require.Equal(t, int64(1), h.sweep(Request{Extent: Full}).Stale)
	require.NotContains(t, h.OpenAlerts(), "published_twice")
}

// Webhooks that name no document have their type compared, which ends their alert and no
// other type's, and keeps no other type from its turn.
func TestReconcile_UnnamedOfAType(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(1)
	for _, subject := range []string{alerting.SubjectUnnamedOf("pipeline-deals"), alerting.SubjectUnnamedOf("billings"), alerting.SubjectUnnamed} {
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
			_, err := h.Alerts.Raise(ctx, tx, alerting.Alert{Rule: alerting.RuleBodyQuarantined, Subject: subject, Level: level.Warning, Message: "x"})
			return err
		})
	}
	open := func() []string {
		return h.MustTexts("SELECT subject FROM alert WHERE resolved_at IS NULL ORDER BY subject")
	}
	h.MustExec("UPDATE reconciliation_run SET finished_at = finished_at - interval '30 minutes'")
	of := func(uid string) Request {
		return Request{Extent: Full, Trigger: TriggerAfterQuarantine, Types: []string{uid}}
	}
	run := h.sweep(of(fakestrapi.BillingUID))
	require.Equal(t, []string{"billings"}, h.MustTexts("SELECT plural FROM reconciliation_type WHERE run_id = $1", run.ID))
	require.Equal(t, []string{"no document is named", "no document is named: pipeline-deals"}, open())
	ages, err := dbsqlc.New().ReconciliationAges(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Greater(t, ages.TryAge, 1500.0, "it stands for no other type")

	h.request(of(fakestrapi.DealUID))
	h.request(of(fakestrapi.DealUID))
	require.Equal(t, "{api::pipeline-deal.pipeline-deal}", h.MustText("SELECT types::text FROM reconciliation_run WHERE status = 'waiting'"))
	ages, err = dbsqlc.New().ReconciliationAges(t.Context(), h.Pool)
	require.NoError(t, err)
	require.False(t, ages.HasOpen)
	h.run(h.reconciler(7))
	require.Equal(t, []string{"no document is named"}, open())
	h.sweep(Request{Extent: Full})
	require.Empty(t, open())
}
