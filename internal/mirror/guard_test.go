package mirror

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
)

func TestGuard_Holds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		facts guardFacts
		holds bool
	}{
		"the first":                       {guardFacts{live: 200}, false},
		"the tenth":                       {guardFacts{used: 9, live: 191}, false},
		"the eleventh":                    {guardFacts{used: 10, live: 190}, true},
		"signed":                          {guardFacts{used: 10, live: 190, signed: true}, false},
		"tripped":                         {guardFacts{live: 200, tripped: true}, true},
		"tripped, signed":                 {guardFacts{live: 200, tripped: true, signed: true}, false},
		"5 % of many":                     {guardFacts{used: 49, live: 951}, false},
		"more than 5 %":                   {guardFacts{used: 50, live: 950}, true},
		"empty":                           {guardFacts{live: 200, empty: true}, true},
		"empty, signed":                   {guardFacts{live: 200, empty: true, signed: true}, true},
		"empty, few":                      {guardFacts{live: 10, empty: true}, false},
		"allowed, whatever else is wrong": {guardFacts{used: 500, live: 500, tripped: true, empty: true, allowed: true}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.holds, test.facts.holds()) })
	}
	require.False(t, guardFacts{live: 200}.holdsAll(10))
	require.True(t, guardFacts{live: 200}.holdsAll(11))
	require.True(t, guardFacts{used: 5, live: 195}.holdsAll(6))
	require.False(t, guardFacts{live: 200, allowed: true}.holdsAll(200))
	require.True(t, guardFacts{live: 200, empty: true}.holdsAll(0))
	require.False(t, guardFacts{live: 10, empty: true}.holdsAll(0))
	require.False(t, guardFacts{live: 200, empty: true, allowed: true}.holdsAll(0))
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
		require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, id))
	}
	before := h.writes()
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(40), run.Ghosts)
	require.Equal(t, int64(40), run.Held)
	require.Zero(t, run.Enqueued)
	h.drain()
	require.Equal(t, before, h.writes(), "nothing was changed, not even the first ten")
	require.Equal(t, "critical", h.openAlerts()["mass_delete_guard"])

	run = h.sweep(Request{Extent: Full, AllowDeletes: true, Actor: "cli:ada"})
	require.Equal(t, int64(40), run.Enqueued)
	h.drain()
	require.Equal(t, 20, h.live())
	require.NotContains(t, h.openAlerts(), "mass_delete_guard")
	require.Equal(t, "cli:ada", one[string](h, "SELECT allowed_by FROM deletion_guard WHERE uid = $1", fakestrapi.DealUID))
	h.requireInStep()
}

func TestGuard_FewGhostsAreDeleted(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(30)
	for _, key := range deals[:10] {
		require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	require.Zero(t, h.sweep(Request{Extent: Full}).Held)
	h.drain()
	require.Equal(t, 20, h.live())
	require.NotContains(t, h.openAlerts(), "mass_delete_guard")

	// The eleventh of the hour is too many, also by a sweep.
	require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, deals[10].DocumentID))
	require.Equal(t, int64(1), h.sweep(Request{Extent: Full}).Held)
}

func TestGuard_Webhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(60)
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultNotFound}) // every document 404, the list empty
	before := one[int](h, "SELECT count(*) FROM mirror_change")
	for _, key := range deals {
		h.event(key, "entry.delete", h.enqueue(key).Seq) // signed, and yet: the collection is empty
	}
	h.drain()
	require.Equal(t, 60, h.live())
	require.Equal(t, before, one[int](h, "SELECT count(*) FROM mirror_change"))
	require.Equal(t, "critical", h.openAlerts()["mass_delete_guard"])
	e := h.entity(deals[0])
	require.Equal(t, "pending", e.State, "the look stays asked for")
	require.Zero(t, e.Failures, "no attempt is burnt")
	require.Equal(t, heldReason, *e.LastError)

	// A sweep while the fault lasts finds the same, and the alert stays what it is.
	for range 2 {
		run := h.sweep(Request{Extent: Full})
		require.Equal(t, int64(60), run.Held)
		require.Zero(t, run.Enqueued)
		for _, key := range deals {
			h.due(key)
		}
		h.drain()
		require.Equal(t, 60, h.live())
		require.Equal(t, "critical", h.openAlerts()["mass_delete_guard"])
		require.Equal(t, 1, one[int](h, "SELECT count(*) FROM alert WHERE rule = 'mass_delete_guard'"), "one episode")
	}

	// Strapi's data is back: all is well, and the guard lets go by itself.
	h.fake.Faults.Clear()
	require.Zero(t, h.sweep(Request{Extent: Full}).Ghosts)
	require.NotContains(t, h.openAlerts(), "mass_delete_guard")
	for _, key := range deals {
		h.due(key)
	}
	h.drain()
	h.requireInStep()
}

func TestGuard_UnsignedWebhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(60)
	for _, key := range deals[:40] {
		require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	for i, key := range deals[:40] {
		seq := h.enqueue(key).Seq
		if i < 20 {
			h.event(key, "entry.delete", seq)
		}
	}
	h.drain()
	require.Equal(t, 60-20-10, h.live(), "those with a signed entry.delete, and ten more")
	require.Equal(t, "critical", h.openAlerts()["mass_delete_guard"])
	require.Equal(t, 10, one[int](h, "SELECT count(*) FROM mirror_change WHERE kind = 'deleted' AND NOT signed"))

	run := h.sweep(Request{Extent: Full})
	require.Equal(t, int64(10), run.Held)
	h.sweep(Request{Extent: Full, AllowDeletes: true})
	h.drain()
	require.Equal(t, 20, h.live())
	h.requireInStep()
}
