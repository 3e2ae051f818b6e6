package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// convergenceSeed decides which webhooks are lost.
const convergenceSeed = 20

// One webhook in five is lost. One reconciliation after the last change, the
// mirror equals Strapi: documents that came, changed and went.
func TestConvergence_LostWebhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false), Seed: convergenceSeed},
		"RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h") // only what the test asks for
	ids := h.deals(600)
	h.serve()
	h.eventually("the run at start is over", func() bool {
		return pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_run WHERE status = 'done'") == 1
	})
	h.waitIdle()
	require.NoError(t, h.fake.Webhooks.SetWebhooks(fakestrapi.Webhook{
		URL: h.address + "/api/v1/webhooks/strapi", Schemes: []webhooksig.Scheme{webhooksig.SchemeStandard}, Secret: testSecret,
	}))
	h.fake.Webhooks.DropFraction(0.2)
	// A thousand changes, each of another document: no later webhook makes up for a lost one.
	h.deals(400)
	for _, id := range ids[:550] {
		_, err := h.fake.Update(fakestrapi.DealUID, id, fakestrapi.Values{"name": "renamed"})
		require.NoError(t, err)
	}
	for _, id := range ids[550:] {
		require.NoError(t, h.fake.Delete(fakestrapi.DealUID, id))
	}
	require.NoError(t, h.fake.Webhooks.Drain(t.Context()))
	last := time.Now()
	h.waitIdle()
	behind := h.outOfStep()

	got := dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	h.waitIdle()
	took := time.Since(last)
	stats := h.fake.Webhooks.Stats()
	t.Logf("seed %d: 1000 changes, %d webhooks lost, %d delivered; %d documents out of step without reconciliation, 0 %s after the last change with one: %s",
		convergenceSeed, stats.Dropped, stats.Succeeded, behind, took.Round(10*time.Millisecond), strings.TrimSpace(got.stdout))
	require.Zero(t, h.outOfStep())
	h.requireMirrorEqualsStrapi()
	if pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert WHERE rule = 'webhooks_refused'") > 0 {
		return // of a busy machine: what makes a refusal good healed the lost ones, too
	}
	require.Positive(t, behind, "no webhook was lost")
	require.Equal(t, strconv.Itoa(behind), h.MustText("SELECT (missing + stale + ghosts)::text FROM reconciliation_run WHERE kind = 'full' ORDER BY id DESC LIMIT 1"),
		"it healed what was out of step and nothing else")
}

// deals makes deals in Strapi.
func (h *env) deals(n int) (ids []string) {
	h.T.Helper()
	for i := range n {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "status": "active"})
		require.NoError(h.T, err)
		ids = append(ids, e.DocumentID)
	}
	return ids
}

// outOfStep is how many deals differ between Strapi and the mirror.
func (h *env) outOfStep() (n int) {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT document_id, name FROM deal WHERE deleted_at IS NULL")
	require.NoError(h.T, err)
	mirror := map[string]string{}
	for rows.Next() {
		var id, name string
		require.NoError(h.T, rows.Scan(&id, &name))
		mirror[id] = name
	}
	require.NoError(h.T, rows.Err())
	for _, e := range h.fake.List(fakestrapi.DealUID, strapi.Published) {
		if mirror[e.DocumentID] != e.Text("name") {
			n++
		}
		delete(mirror, e.DocumentID)
	}
	return n + len(mirror)
}
