package reconcile

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
)

// edit changes documents in Strapi's database, without an event and without updatedAt.
func (h *env) edit(keys []mirror.Key, values fakestrapi.Values) {
	h.T.Helper()
	for _, key := range keys {
		require.NoError(h.T, h.Fake.SilentEdit(key.UID, key.DocumentID, values))
	}
}

// An essential value that vanishes from many documents at once is held back: the mirror keeps
// it until it is back in Strapi, or a person says that it is right.
func TestValues_Guard(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(40)
	values := func() string {
		return h.MustText("SELECT concat(count(deal_value), ' of ', count(*)) FROM deal WHERE deal_value > 0")
	}
	require.Equal(t, "40 of 40", values())

	h.edit(deals[:10], fakestrapi.Values{"deal_value": nil, "name": "ten are plausible"})
	require.Equal(t, [2]int64{10, 0}, h.heldNulls(Full))
	h.drain()
	require.NotContains(t, h.OpenAlerts(), "mass_null_guard")
	h.edit(deals, fakestrapi.Values{"deal_value": json.Number("7")})
	h.sweep(Request{Extent: Full})
	h.drain()

	for name, empty := range map[string]any{"null": nil, "zero": json.Number("0.00")} {
		h.edit(deals[:12], fakestrapi.Values{"deal_value": empty})
		h.edit(deals[12:14], fakestrapi.Values{"owner": name})
		require.Equal(t, [2]int64{2, 12}, h.heldNulls(Full), name)
		h.drain()
		require.Equal(t, [2]int64{0, 12}, h.heldNulls(Full), "and again, as long as it is so")
		require.Equal(t, "40 of 40", values())
		require.Equal(t, 2, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE owner = '"+name+"'"), "all else goes on")
		require.Equal(t, "critical", h.OpenAlerts()["mass_null_guard"])
		message := h.MustText("SELECT message || details::text FROM alert WHERE rule = 'mass_null_guard' AND subject = 'pipeline-deals' AND resolved_at IS NULL")
		require.Contains(t, message, "deal_value of 12")
		require.Contains(t, message, "sync --allow-deletes --type pipeline-deals")

		h.edit(deals, fakestrapi.Values{"deal_value": json.Number("7")})
		require.Equal(t, [2]int64{0, 0}, h.heldNulls(Full))
		require.NotContains(t, h.OpenAlerts(), "mass_null_guard")
	}

	h.edit(deals[:12], fakestrapi.Values{"deal_status": "", "deal_value": nil})
	require.Equal(t, [2]int64{0, 12}, h.heldNulls(Full))
	require.Zero(t, h.sweep(Request{Extent: Full, AllowDeletes: true, Actor: "cli:ada"}).HeldNulls)
	h.drain()
	require.Equal(t, "28 of 28", values())
	require.NotContains(t, h.OpenAlerts(), "mass_null_guard")
	h.requireInStep()
}

// heldNulls returns how many refreshes a run requested, and how many it held back.
func (h *env) heldNulls(extent Extent) [2]int64 {
	h.T.Helper()
	run := h.sweep(Request{Extent: extent})
	require.Equal(h.T, "done", run.Status)
	return [2]int64{run.Enqueued, run.HeldNulls}
}

// causes returns why documents differ in a run, and how many of its differences may be lost webhooks.
func (h *env) causes(run int64) string {
	h.T.Helper()
	return h.MustText(`SELECT t.causes::text || ' ' || (SELECT count(*) FROM reconciliation_difference d WHERE d.run_id = t.run_id AND d.lost IS NULL)
		FROM reconciliation_type t WHERE t.run_id = $1 AND t.uid = $2`, run, fakestrapi.DealUID)
}

// What no webhook announces is no lost webhook, and gets its name.
func TestValues_Causes(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(30)

	// A webhook that is lost, an edit in Strapi's database, a deletion.
	_, err := h.Fake.Update(fakestrapi.DealUID, deals[0].DocumentID, fakestrapi.Values{"name": "changed"})
	require.NoError(t, err)
	h.edit(deals[1:3], fakestrapi.Values{"owner": "edited"})
	require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, deals[3].DocumentID))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, `{"change": 2, "silent": 2} 2`, h.causes(run.ID))
	require.Empty(t, h.OpenAlerts())
	h.drain()

	// The schema or the mapping of an attribute changes.
	h.edit(deals[4:20], fakestrapi.Values{"owner": "another"})
	h.edit(deals[20:21], fakestrapi.Values{"stage": "another"})
	run = h.sweep(Request{Extent: Full})
	require.Equal(t, `{"schema": 16, "silent": 1} 0`, h.causes(run.ID))
	require.Equal(t, "warning", h.OpenAlerts()["mass_change"])
	require.Contains(t, h.MustText("SELECT message FROM alert WHERE rule = 'mass_change'"), "16 documents of pipeline-deals differ from the mirror in owner alone")
	h.drain()
	h.requireInStep()
	require.NotContains(t, h.OpenAlerts(), "mass_change")

	// A backup is restored: the mirror is ahead of Strapi.
	h.MustExec("UPDATE deal SET strapi_updated_at = strapi_updated_at + interval '1 day', name = 'newer'")
	h.Deal(fakestrapi.Values{"name": "vanished after the backup"})
	run = h.sweep(Request{Extent: Full})
	require.Equal(t, `{"restored": 30} 0`, h.causes(run.ID))
	require.Contains(t, h.MustText("SELECT message FROM alert WHERE rule = 'mass_change' AND resolved_at IS NULL"), "their updatedAt went back")
	h.drain()
	h.requireInStep()
}

// A restored backup whose rows have no value yet is held back, and the alert says what it looks like.
func TestValues_RestoredAndEmpty(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(20)
	h.edit(deals, fakestrapi.Values{"deal_value": nil})
	h.MustExec("UPDATE deal SET strapi_updated_at = strapi_updated_at + interval '1 day'")
	require.Equal(t, [2]int64{0, 20}, h.heldNulls(Full))
	message := h.MustText("SELECT message || details::text FROM alert WHERE rule = 'mass_null_guard'")
	require.Contains(t, message, "In 20 of them updatedAt went back")
}

// What a sync wrote after the row was listed is no difference, or at least no lost webhook.
func TestCompare_ChangedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(4)
	_, err := h.Fake.Update(fakestrapi.DealUID, deals[1].DocumentID, fakestrapi.Values{"name": "missed before"})
	require.NoError(t, err)
	h.During(func() {
		for i := range 3 {
			_, err := h.Fake.Update(fakestrapi.DealUID, deals[i].DocumentID, fakestrapi.Values{"name": fmt.Sprint("changed ", i)})
			require.NoError(t, err)
			require.NoError(t, h.refresh(deals[i]))
		}
		// That sync began long after the row was listed, this one may have begun before.
		h.MustExec(`SET session_replication_role = replica;
			UPDATE mirror_change SET changed_at = now() + CASE document_id WHEN '` + deals[2].DocumentID + `' THEN interval '1 minute' ELSE interval '10 seconds' END;
			SET session_replication_role = origin`)
	})
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{2, 2}, [2]int64{run.Stale, run.Enqueued})
	require.Equal(t, `{"meanwhile": 2} 0`, h.causes(run.ID))
	h.drain()
	h.requireInStep()
}
