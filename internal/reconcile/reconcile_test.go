package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

func (h *env) reconciler(pageSize int) *Worker {
	return NewWorker(h.Pool, h.queue, h.mirror, h.source, h.Alerts, Config{
		Types: strapitest.Types, PageSize: pageSize, Interval: time.Hour, RecordTimeout: time.Minute,
		Random:  func() float64 { return 0.999 },
		Slice:   5 * time.Minute, // a run ends in one, also on a busy machine
		Requeue: []func(context.Context, pgx.Tx) error{h.mirror.RequeueOrphans, h.Forecast.RequeueOrphans},
	})
}

func (h *env) request(r Request) (id int64) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = h.queue.Request(ctx, tx, r)
		return err
	})
	return id
}

func (h *env) run(w *Worker) {
	h.T.Helper()
	require.NoError(h.T, w.Work(h.T.Context(), &river.Job[Args]{Args: Args{Continue: true}}))
}

// sweep runs one reconciliation to its end and returns its row.
func (h *env) sweep(r Request) dbsqlc.ReconciliationRun {
	h.T.Helper()
	if r.Trigger == "" {
		r.Trigger = TriggerDemand
	}
	id := h.request(r)
	for range 10 {
		h.run(h.reconciler(7))
		if h.runRow(id).FinishedAt != nil {
			return h.runRow(id)
		}
	}
	require.Fail(h.T, "the run does not come to its end")
	return h.runRow(id)
}

func (h *env) runRow(id int64) dbsqlc.ReconciliationRun {
	h.T.Helper()
	run, err := dbsqlc.New().ReconciliationGet(h.T.Context(), h.Pool, id)
	require.NoError(h.T, err)
	return run
}

// fill makes a pipeline in Strapi and brings the mirror in step by a first sweep.
func (h *env) fill(deals int) []mirror.Key {
	h.T.Helper()
	var keys []mirror.Key
	for i := range deals {
		keys = append(keys, h.Deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i), "deal_value": json.Number("10.5")}))
	}
	run := h.sweep(Request{Extent: Full})
	require.Equal(h.T, "done", run.Status)
	h.drain()
	return keys
}

// writes counts what a sweep in step must not write.
func (h *env) writes() string {
	return h.MustText(`SELECT concat_ws(' ', (SELECT count(*) FROM mirror_change), (SELECT sum(want_seq) FROM entity_sync),
		(SELECT max(xmin::text::bigint) FROM deal), (SELECT max(xmin::text::bigint) FROM billing),
		(SELECT count(*) FROM river.river_job WHERE kind = 'mirror_sync'))`)
}

// requireInStep compares the mirror with Strapi, whatever way it came there.
func (h *env) requireInStep() {
	h.T.Helper()
	run := h.sweep(Request{Extent: Full})
	require.Equal(h.T, "done", run.Status)
	require.Zero(h.T, run.Missing+run.Stale+run.Ghosts+run.Enqueued, "the mirror differs from Strapi")
}

// Strapi sent no webhook for any of these.
func TestReconcile_FindsWhatSentNoWebhook(t *testing.T) {
	t.Parallel()
	for _, config := range []struct {
		name    string
		options []strapitest.Option
	}{{"plain", nil}, {"drafts", []strapitest.Option{strapitest.Drafts}}} {
		t.Run(config.name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, config.options...)
			deals := h.fill(20)
			b := h.Billing(deals[0])
			h.sweep(Request{Extent: Full})
			h.drain()
			h.requireInStep()

			created := h.Deal(fakestrapi.Values{"name": "new"})
			_, err := h.Fake.Update(fakestrapi.DealUID, deals[1].DocumentID, fakestrapi.Values{"name": "renamed"})
			require.NoError(t, err)
			require.NoError(t, h.Fake.SilentEdit(fakestrapi.DealUID, deals[2].DocumentID, fakestrapi.Values{"deal_value": json.Number("99.99")}))
			require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, deals[3].DocumentID))
			_, err = h.Fake.SetRelation(fakestrapi.DealUID, deals[4].DocumentID, "billings", b.DocumentID)
			require.NoError(t, err)
			want := int64(5) // created, renamed, edited, the deal of the relation and its billing
			if config.name == "drafts" {
				require.NoError(t, h.Fake.Unpublish(fakestrapi.DealUID, deals[5].DocumentID))
				for range 20 { // so that the pages of the two versions do not end alike
					_, err = h.Fake.CreateDraft(fakestrapi.DealUID, fakestrapi.Values{"name": "only a draft"})
					require.NoError(t, err)
				}
				want += 21
			}

			run := h.sweep(Request{Extent: Full})
			require.Equal(t, "done", run.Status)
			require.Equal(t, want, run.Missing+run.Stale)
			require.Equal(t, int64(1), run.Ghosts)
			require.Equal(t, want+1, run.Enqueued)
			h.drain()

			require.Equal(t, "new", h.MustText("SELECT name FROM deal WHERE document_id = $1", created.DocumentID))
			require.Equal(t, "99.99", h.MustText("SELECT deal_value::text FROM deal WHERE document_id = $1", deals[2].DocumentID))
			require.True(t, pgtest.MustGet[bool](h.DB, "SELECT deleted_at IS NOT NULL FROM deal WHERE document_id = $1", deals[3].DocumentID))
			require.Equal(t, deals[4].DocumentID, h.MustText("SELECT deal_document_id FROM billing"))
			if config.name == "drafts" {
				require.Equal(t, 21, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE published_at IS NULL AND deleted_at IS NULL"))
			}
			h.requireInStep()
		})
	}
}

func TestReconcile_InStepWritesNothing(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts)
	deals := h.fill(30)
	h.Billing(deals[0])
	h.sweep(Request{Extent: Full})
	h.drain()
	before := h.writes()
	for _, extent := range []Extent{Full, Delta} {
		run := h.sweep(Request{Extent: extent})
		require.Equal(t, "done", run.Status)
		require.Zero(t, run.Enqueued)
	}
	require.Equal(t, before, h.writes())
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_difference"), "the billing, when it was new")
}

func TestReconcile_DeltaFindsUpdates(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts)
	deals := h.fill(30)
	h.MustExec("UPDATE reconciliation_type SET started_at = now() + interval '1 hour', answered_at = now() + interval '1 hour'")
	run := h.sweep(Request{Extent: Delta})
	require.Zero(t, run.Listed, "nothing was updated since the watermark")

	h.MustExec("UPDATE reconciliation_type SET started_at = now()")
	_, err := h.Fake.Update(fakestrapi.DealUID, deals[1].DocumentID, fakestrapi.Values{"name": "renamed"})
	require.NoError(t, err)
	_, err = h.Fake.SaveDraft(fakestrapi.DealUID, deals[2].DocumentID, fakestrapi.Values{"name": "not yet published"})
	require.NoError(t, err)
	run = h.sweep(Request{Extent: Delta})
	require.Equal(t, int64(1), run.Enqueued)
	require.NotEmpty(t, h.MustText("SELECT since::text FROM reconciliation_type WHERE run_id = $1 AND uid = $2", run.ID, fakestrapi.DealUID), "a Date in the future hides nothing")
	h.drain()
	require.Equal(t, "renamed", h.MustText("SELECT name FROM deal WHERE document_id = $1", deals[1].DocumentID))
}

func TestReconcile_FirstContact(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	for i := range 10_000 {
		_, err := h.Fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		require.NoError(t, err)
	}
	id := h.request(Request{Extent: Full, Trigger: TriggerStart})
	w := h.reconciler(100)
	require.Eventually(t, func() bool { h.run(w); return h.runRow(id).Status == "done" }, 5*time.Minute, time.Millisecond)
	run := h.runRow(id)
	require.Equal(t, int64(10_000), run.Missing)
	require.Equal(t, int64(10_000), run.Expected)
	require.Equal(t, 10_000, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'mirror_sync'"))
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_difference"), "Dealbox is new: nothing was lost")
}

// Documents come, go and change while the pages are turned; none that stays is missed.
func TestReconcile_RowsMoveDuringPaging(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(30)
	h.During(func() {
		for i := range 10 {
			require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, deals[i].DocumentID))
			h.Deal(fakestrapi.Values{"name": fmt.Sprint("late ", i)})
		}
	})
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, "done", run.Status)
	require.Zero(t, run.Stale)
	require.LessOrEqual(t, run.Ghosts, int64(10))
	h.drain()
	for range 2 {
		h.sweep(Request{Extent: Full})
		h.drain()
	}
	h.requireInStep()
	require.Equal(t, 30, h.LiveDeals())
}

// Documents that were made and mirrored after Strapi made the list are not in it, and
// yet no ghosts: an import must not look like a mass deletion.
func TestReconcile_MirroredAfterTheList(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	gone := h.fill(1)[0]
	require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, gone.DocumentID))
	h.During(func() { // the drafts were listed
		h.During(func() { // and what is published
			for range 20 {
				require.NoError(t, h.refresh(h.Deal(fakestrapi.Values{"name": "imported"})))
			}
		})
	})
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, []int64{1, 1, 0}, []int64{run.Ghosts, run.Enqueued, run.Held})
	require.Empty(t, h.OpenAlerts())
	h.drain()
	h.requireInStep()
	require.Equal(t, 20, h.LiveDeals())
}

func TestReconcile_ContinuesAfterACrash(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(30)
	h.Deal(fakestrapi.Values{"name": "missing"})
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	dies := h.reconciler(7)
	run, ok, err := dies.claim(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	s, err := dies.begin(t.Context(), run, circuit.Snapshot{})
	require.NoError(t, err)
	for range 2 {
		_, err = s.step(t.Context())
		require.NoError(t, err)
	}
	half := h.runRow(id)
	require.Equal(t, int64(14), half.Listed)

	other := h.reconciler(7)
	_, ok, err = other.claim(t.Context())
	require.NoError(t, err)
	require.False(t, ok, "one runner over all replicas: the lease is not over")

	h.MustExec("UPDATE reconciliation_run SET lease_until = now() - interval '1 second' WHERE id = $1", id)
	h.run(other)
	run = h.runRow(id)
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(31), run.Listed, "each document once: it continued from the cursor")
	require.Equal(t, int64(1), run.Enqueued)

	_, err = s.step(t.Context())
	require.ErrorIs(t, err, errTakenOver, "the runner whose lease had ended writes nothing more")
}

func TestReconcile_OneOfFourClaimsTheRun(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(20)
	for round := range 5 {
		h.request(Request{Extent: Full, Trigger: TriggerDemand})
		claimed := make(chan bool, 4)
		for range 4 {
			go func() {
				_, ok, err := h.reconciler(7).claim(t.Context())
				claimed <- ok && err == nil
			}()
		}
		runners := 0
		for range 4 {
			if <-claimed {
				runners++
			}
		}
		require.Equal(t, 1, runners, round)
		h.MustExec("UPDATE reconciliation_run SET status = 'done', finished_at = now() WHERE status = 'running'")
	}
}

func TestReconcile_BrokenStrapiDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, fault := range []fakestrapi.Fault{
		{Kind: fakestrapi.FaultHTML}, {Kind: fakestrapi.FaultTruncated}, {Kind: fakestrapi.FaultCut},
		{Kind: fakestrapi.FaultNullData}, {Kind: fakestrapi.FaultEmptyArray}, {Kind: fakestrapi.FaultUnauthorized},
		{Kind: fakestrapi.FaultForbidden}, {Kind: fakestrapi.FaultMissingRoute}, {Kind: fakestrapi.FaultDown},
		{Kind: fakestrapi.FaultStatus, Status: 500}, {Kind: fakestrapi.FaultStatus, Status: 502, Body: "<html>"},
		{Kind: fakestrapi.FaultStatus, Status: 429, RetryAfter: "3600"},
	} {
		t.Run(fmt.Sprint(fault.Kind, fault.Status), func(t *testing.T) {
			t.Parallel()
			h := newEnv(t)
			h.fill(20)
			before := h.writes()
			// It breaks in the middle of the run, when some of the list was read.
			h.During(func() { h.Fake.Faults.Set(fault) })
			run := h.sweep(Request{Extent: Full})
			require.Equal(t, "failed", run.Status)
			require.NotNil(t, run.Error)
			require.Equal(t, before, h.writes())
			require.Equal(t, "error", h.OpenAlerts()["reconciliation_failing"])

			h.Fake.Faults.Clear()
			h.requireInStep()
			require.NotContains(t, h.OpenAlerts(), "reconciliation_failing")
			require.Equal(t, 20, h.LiveDeals())
		})
	}
}

// A proxy fails now and then, and the retry succeeds: that is no run of failures.
func TestReconcile_FailuresBetweenSuccessesDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) { c.Breaker.FailureThreshold = 5 })
	h.fill(60)
	requests := 0
	var count func()
	count = func() {
		if requests++; requests%4 == 0 {
			h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502, Times: 1})
		}
		h.During(count)
	}
	h.During(count)
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	h.run(h.reconciler(3))
	require.Equal(t, "done", h.runRow(id).Status)
	require.Greater(t, requests, 4*5, "more failures than open it")
	require.Equal(t, "closed 0", h.MustText("SELECT state || ' ' || failure_count FROM circuit_breaker"))
}

// STRAPI_TIMEOUT may be longer than a slice (here a minute): a list that hangs is
// noticed while there is time to record it.
func TestReconcile_HangingListIsNoticedWithinTheSlice(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) { c.Policy.Try = time.Minute })
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultHang})
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	w := h.reconciler(3)
	w.cfg.Slice = 20 * time.Second
	h.run(w)
	require.Contains(t, h.MustText("SELECT error FROM reconciliation_type WHERE run_id = $1 AND uid = $2", id, fakestrapi.DealUID), "no complete answer within 20s")
	require.Equal(t, "closed 1", h.MustText("SELECT state || ' ' || failure_count FROM circuit_breaker"))
}

func TestReconcile_LostWebhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(20)
	w := h.reconciler(7)
	later := func() {
		h.MustExec(`UPDATE reconciliation_difference SET found_at = found_at - interval '61 seconds';
			UPDATE reconciliation_run SET started_at = started_at - interval '61 seconds', finished_at = finished_at - interval '61 seconds'`)
		require.NoError(t, w.countLost(t.Context()))
	}
	for i := range 3 {
		_, err := h.Fake.Update(fakestrapi.DealUID, deals[i].DocumentID, fakestrapi.Values{"name": "changed"})
		require.NoError(t, err)
	}
	h.event(deals[2], "entry.update", 1) // its webhook is only late

	run := h.sweep(Request{Extent: Full})
	require.Equal(t, int64(3), run.Stale)
	require.NoError(t, w.countLost(t.Context()))
	require.NotContains(t, h.OpenAlerts(), "lost_webhooks", "a minute has not passed")
	h.drain()
	later()
	require.Equal(t, int64(2), h.runRow(run.ID).LostWebhooks)
	require.Equal(t, "warning", h.OpenAlerts()["lost_webhooks"])
	require.Contains(t, h.MustText("SELECT details::text FROM alert WHERE rule = 'lost_webhooks'"), deals[0].DocumentID)

	later()
	require.Contains(t, h.OpenAlerts(), "lost_webhooks", "no full run since")
	h.requireInStep()
	later()
	require.NotContains(t, h.OpenAlerts(), "lost_webhooks")
}

// A webhook that was refused while a run was under way needs the next run.
func TestReconcile_WebhookRefusedDuringARunNeedsTheNext(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(3)
	refuse := func() {
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
			_, err := h.Alerts.Raise(ctx, tx, alerting.Alert{Rule: alerting.RuleWebhooksRefused, Level: level.Error})
			return err
		})
	}
	h.During(refuse)
	require.Equal(t, "done", h.sweep(Request{Extent: Full}).Status)
	require.Contains(t, h.OpenAlerts(), alerting.RuleWebhooksRefused)
	h.sweep(Request{Extent: Delta})
	require.Contains(t, h.OpenAlerts(), alerting.RuleWebhooksRefused, "a delta does not see everything")
	h.sweep(Request{Extent: Full})
	require.NotContains(t, h.OpenAlerts(), alerting.RuleWebhooksRefused)
}

// event stores a webhook of a document as the inbox does.
func (h *env) event(key mirror.Key, event string, seq int64) {
	h.T.Helper()
	h.MustExec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, event, uid, document_id, locale, seq, body)
		VALUES (gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, now(), gen_random_uuid()::text::bytea, 'standard', $1, $2, $3, $4, $5, '')`,
		event, key.UID, key.DocumentID, key.Locale, seq)
}

func TestReconcile_DeadLettersAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.fill(3)[0]
	_, err := h.Fake.Update(fakestrapi.DealUID, key.DocumentID, fakestrapi.Values{"name": "x"})
	require.NoError(t, err)
	died := func(after string) {
		h.MustExec(`UPDATE entity_sync SET state = 'dead', dead_at = now() + $1::interval, want_seq = want_seq + 1
			WHERE document_id = $2`, after, key.DocumentID)
	}
	full := Request{Extent: Full, Trigger: TriggerSchedule}
	died("1 hour")
	run := h.sweep(full)
	require.Equal(t, [3]int64{0, 1, 0}, [3]int64{run.Enqueued, run.Dead, run.DeadRetried}, "not corrected since it died")
	died("-1 minute")
	run = h.sweep(full)
	require.Equal(t, [3]int64{1, 0, 0}, [3]int64{run.Enqueued, run.Dead, run.DeadRetried}, "Strapi changed it since")
	died("1 minute")
	require.Equal(t, int64(1), h.sweep(full).Enqueued, "Strapi changed it during its last attempt, or by a clock that is behind")
}

// An operator's full run tries every dead letter again: those that differ from Strapi, those
// that do not, and those of which nothing is known.
func TestReconcile_OperatorRetriesDeadLetters(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(3)
	h.MustExec(`UPDATE entity_sync SET state = 'dead', dead_at = now() - interval '1 hour', want_seq = want_seq + 1;
		INSERT INTO entity_sync (uid, document_id, locale, want_seq, state, dead_at)
		VALUES ('api::pipeline-deal.pipeline-deal', 'never-mirrored', '', 1, 'dead', now() - interval '1 hour')`)
	require.Zero(t, h.sweep(Request{Extent: Delta}).DeadRetried)
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{0, 4}, [2]int64{run.Dead, run.DeadRetried})
	h.drain()
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE done_seq < want_seq"))
}

// What waits without a job gets one, once.
func TestReconcile_RequeuesOrphans(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(3)
	key := h.Deal(fakestrapi.Values{"name": "stuck"})
	h.enqueue(key)
	h.MustExec(`DELETE FROM river.river_job;
		UPDATE entity_sync SET pending_since = now() - interval '3 minutes' WHERE done_seq < want_seq;
		UPDATE forecast_scope SET want = done + 1, dirty_since = now() - interval '3 minutes'`)
	for range 2 {
		require.NoError(t, h.reconciler(7).requeue(t.Context()))
		require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'mirror_sync'"))
		require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'forecast_recompute'"))
	}
}
