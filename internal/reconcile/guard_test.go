package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
)

func TestHoldsBackAll(t *testing.T) {
	t.Parallel()
	require.False(t, holdsBackAll(mirror.Guard{Live: 200}, 10, false))
	require.True(t, holdsBackAll(mirror.Guard{Live: 200}, 11, false))
	require.True(t, holdsBackAll(mirror.Guard{Counted: 5, Live: 195}, 6, false))
	require.False(t, holdsBackAll(mirror.Guard{Counted: 400, Live: 300}, 0, false), "what was deleted is no reason to say that something vanishes")
	require.True(t, holdsBackAll(mirror.Guard{Live: 200}, 0, true))
	require.False(t, holdsBackAll(mirror.Guard{Live: 10}, 0, true))
}

// Strapi answers 404 for everything, well formed: a database restored from an
// old backup, or the wrong one.
func TestGuard_Sweep(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(60)
	gone := make([]string, 0, len(deals))
	for _, key := range deals[:40] {
		gone = append(gone, key.DocumentID)
	}
	for _, id := range gone {
		require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, id))
	}
	before := h.writes()
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(40), run.Ghosts)
	require.Equal(t, int64(40), run.Held)
	require.Zero(t, run.Enqueued)
	h.drain()
	require.Equal(t, before, h.writes(), "nothing was changed, not even the first ten")
	require.Equal(t, "critical", h.OpenAlerts()["mass_delete_guard"])

	run = h.sweep(Request{Extent: Full, AllowDeletes: true, Actor: "cli:ada"})
	require.Equal(t, int64(40), run.Enqueued)
	h.drain()
	require.Equal(t, 20, h.LiveDeals())
	require.NotContains(t, h.OpenAlerts(), "mass_delete_guard")
	require.Equal(t, "cli:ada", h.MustText("SELECT actor FROM reconciliation_run WHERE allow_deletes"))
	h.requireInStep()

	// The permission was for that run: what vanishes a moment later is held back again.
	for _, key := range deals[40:] {
		require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	require.Equal(t, int64(20), h.sweep(Request{Extent: Full}).Held)
	for _, key := range deals[40:] {
		h.enqueue(key)
	}
	h.drain()
	require.Equal(t, 20, h.LiveDeals())

	// So is that of a type which the permission does not name, in the run that both share.
	for _, allowed := range []string{fakestrapi.BillingUID, fakestrapi.DealUID} {
		h.request(Request{Extent: Full, Trigger: TriggerSchedule})
		h.request(Request{Extent: Full, Trigger: TriggerDemand, AllowDeletes: true, Types: []string{allowed}})
		require.Equal(t, "true {"+allowed+"} all", h.MustText("SELECT concat_ws(' ', allow_deletes::text, allow_types::text, coalesce(types::text, 'all')) FROM reconciliation_run WHERE status = 'waiting'"))
		h.run(h.reconciler(7))
		h.drain()
		require.Equal(t, map[string]int{fakestrapi.BillingUID: 20, fakestrapi.DealUID: 0}[allowed], h.LiveDeals())
	}
}

func TestGuard_FewGhostsAreDeleted(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(30)
	for _, key := range deals[:10] {
		require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	require.Zero(t, h.sweep(Request{Extent: Full}).Held)
	h.drain()
	require.Equal(t, 20, h.LiveDeals())
	require.NotContains(t, h.OpenAlerts(), "mass_delete_guard")

	// The eleventh of the hour is too many, also by a sweep.
	require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, deals[10].DocumentID))
	require.Equal(t, int64(1), h.sweep(Request{Extent: Full}).Held)
}

func TestGuard_Webhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(60)
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultNotFound}) // every document 404, the list empty
	before := pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change")
	for _, key := range deals {
		h.event(key, "entry.delete", h.enqueue(key).Seq) // signed, and yet: the collection is empty
	}
	h.drain()
	require.Equal(t, 60, h.LiveDeals())
	require.Equal(t, before, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change"))
	require.Equal(t, "critical", h.OpenAlerts()["mass_delete_guard"])
	e := h.Entity(deals[0])
	require.Equal(t, "pending", e.State, "the refresh stays requested")
	require.Zero(t, e.Failures, "no attempt is counted")
	require.NotNil(t, e.HeldBack)

	// A sweep while the fault lasts finds the same, and the alert stays what it is.
	for range 2 {
		run := h.sweep(Request{Extent: Full})
		require.Equal(t, int64(60), run.Held)
		require.Zero(t, run.Enqueued)
		for _, key := range deals {
			h.EndBackoff(key)
		}
		h.drain()
		require.Equal(t, 60, h.LiveDeals())
		require.Equal(t, "critical", h.OpenAlerts()["mass_delete_guard"])
		require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert WHERE rule = 'mass_delete_guard'"), "one episode")
	}

	// Strapi's data is back: all is well, and the next full run resets the guard.
	h.Fake.Faults.Clear()
	require.Zero(t, h.sweep(Request{Extent: Full}).Ghosts)
	require.NotContains(t, h.OpenAlerts(), "mass_delete_guard")
	for _, key := range deals {
		h.EndBackoff(key)
	}
	h.drain()
	h.requireInStep()
}

func TestGuard_UnsignedWebhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(60)
	for _, key := range deals[:40] {
		require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	for i, key := range deals[:40] {
		seq := h.enqueue(key).Seq
		if i < 20 {
			h.event(key, "entry.delete", seq)
		}
	}
	h.drain()
	require.Equal(t, 60-20-10, h.LiveDeals(), "those with a signed entry.delete, and ten more")
	require.Equal(t, "critical", h.OpenAlerts()["mass_delete_guard"])
	require.Equal(t, 10, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change WHERE counted"))

	run := h.sweep(Request{Extent: Full})
	require.Equal(t, int64(10), run.Held)
	h.sweep(Request{Extent: Full, AllowDeletes: true})
	h.drain()
	require.Equal(t, 20, h.LiveDeals())
	h.requireInStep()
}
