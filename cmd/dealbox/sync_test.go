package main

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
)

// No webhook comes at all: the service fills itself at start, and `dealbox sync`
// heals what changed since.
func TestSync_WithoutAnyWebhook(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	var ids []string
	for i := range 40 {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		require.NoError(t, err)
		ids = append(ids, e.DocumentID)
	}
	h.serve()
	live := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			return h.MustText("SELECT concat(count(*), ' ', (SELECT count(*) FROM entity_sync WHERE done_seq < want_seq)) FROM deal WHERE deleted_at IS NULL") == want
		}, patience, 20*time.Millisecond)
	}
	live("40 0")

	require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, ids[0]))
	got := dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "1 deleted in Strapi; requested 1 refresh")
	live("39 0")

	for _, id := range ids[1:21] {
		require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, id))
	}
	got = dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "holds 20 deletions back")
	live("39 0")

	got = dealbox(t, h.env, "", "sync --allow-deletes --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	live("19 0")

	got = dealbox(t, h.env, "", "sync")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "requested reconciliation")
	reconciliation := h.health()["reconciliation"].(map[string]any)
	require.NotNil(t, reconciliation["last_full_run_at"])
}

func TestSync_FailedRunEndsWithItsError(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultForbidden})
	h.serve()
	got := dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "failed: ")
	require.Contains(t, got.stderr, "403")
}

// A part of the comparison: a type, a document, a time.
func TestSync_Parts(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, "RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h")
	deal, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": "Old Mill"})
	require.NoError(t, err)
	h.serve()
	h.eventually("the first contact is over", func() bool {
		return h.MustText("SELECT count(*)::text FROM reconciliation_run WHERE status = 'done'") == "1"
	})
	h.waitIdle()

	never, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": "New Mill"}) // no webhook announces it
	require.NoError(t, err)
	require.NoError(t, h.fake.SilentEdit(fakestrapi.DealUID, deal.DocumentID, fakestrapi.Values{"name": "Old Mill, sold"}))
	got := dealbox(t, h.env, "", "sync --document "+never.DocumentID+" --document "+deal.DocumentID+" --document nobody --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "in step with Strapi: New Mill")
	require.Contains(t, got.stdout, "in step with Strapi: Old Mill, sold")
	require.Contains(t, got.stdout, "nobody: Strapi does not have it")
	require.Equal(t, []string{"New Mill", "Old Mill, sold"}, h.MustTexts("SELECT name FROM deal ORDER BY name"))

	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: []string{deal.DocumentID}, Action: "findOne"})
	got = dealbox(t, h.env, "", "sync --type pipeline-deals --wait --document "+deal.DocumentID)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stdout, deal.DocumentID+": not refreshed: ")
	h.fake.Faults.Clear()

	require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, never.DocumentID))
	got = dealbox(t, h.env, "", "sync --full --type billings --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "compared 0 documents; 0 missing")
	got = dealbox(t, h.env, "", "sync --full --type "+fakestrapi.DealUID+" --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "1 deleted in Strapi")

	got = dealbox(t, h.env, "", "sync --since 400h --type pipeline-deals --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Equal(t, "true", h.MustText("SELECT (since < now() - interval '399 hours')::text FROM reconciliation_type ORDER BY run_id DESC LIMIT 1"))
	require.Equal(t, []string{"sync 5"}, h.MustTexts("SELECT concat_ws(' ', action, count(*)) FROM operator_action GROUP BY action"))
}

// A document that Dealbox has never seen is found under its locale.
func TestSync_DocumentOfALocalizedType(t *testing.T) {
	t.Parallel()
	types := fakestrapi.PipelineTypes(false, false)
	for i := range types {
		types[i].Localized = true
	}
	h := newEnv(t, fakestrapi.Config{Types: types}, "RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h")
	h.serve()
	h.eventually("the first contact is over", func() bool {
		return h.MustText("SELECT count(*)::text FROM reconciliation_run WHERE status = 'done'") == "1"
	})
	h.waitIdle()
	never, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": "New Mill"}) // no webhook announces it
	require.NoError(t, err)
	got := dealbox(t, h.env, "", "sync --wait --document "+never.DocumentID)
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "in step with Strapi: New Mill")
	require.NotContains(t, got.stdout, "does not have it")
}

// Who waits reads what keeps the service from it, not that no service runs.
func TestSync_WhyItWaits(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.serve()
	h.waitIdle()
	ops, err := app.OpenOperations(t.Context(), h.env.getenv)
	require.NoError(t, err)
	defer ops.Close()
	why := func() string {
		got, err := ops.WhyItWaits(t.Context())
		require.NoError(t, err)
		return got
	}
	require.Empty(t, why())
	require.Equal(t, exitDone, dealbox(t, h.env, "", "breaker force-open --reason=upgrade").code)
	require.Contains(t, why(), "holds the breaker open (upgrade)")
	require.Contains(t, dealbox(t, h.env, "", "breaker force-open --reason=again").stdout, "(upgrade)")
	require.Equal(t, exitDone, dealbox(t, h.env, "", "breaker reset").code)
	require.Empty(t, why())

	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultForbidden})
	h.eventually("the alert about the token is open", func() bool {
		return h.MustText("SELECT count(*)::text FROM alert WHERE rule = 'strapi_token_refused' AND resolved_at IS NULL") != "0"
	})
	require.Contains(t, why(), "STRAPI_API_TOKEN")
}

// What the guards hold back is allowed for the types of the command alone.
func TestPrintResult_NamesTheTypes(t *testing.T) {
	t.Parallel()
	for _, run := range []dbsqlc.ReconciliationRun{{Status: "done", Held: 20}, {Status: "done", HeldNulls: 1}} {
		require.ErrorContains(t, printResult(io.Discard, run, []string{"billings"}), "'dealbox sync --allow-deletes --type billings'")
		require.ErrorContains(t, printResult(io.Discard, run, nil), "'dealbox sync --allow-deletes'")
	}
}

func TestSync_Usage(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	for args, want := range map[string]string{
		"sync --type invoices":                 `no type "invoices" is configured; there are pipeline-deals, billings`,
		"sync --document x --type invoices":    "there are pipeline-deals, billings",
		"sync --since yesterday":               "--since",
		"sync --since 2999-01-01":              "has not come yet",
		"sync --since 1h --full":               "a full run compares everything",
		"sync --since 1h --allow-deletes":      "a full run compares everything",
		"sync --document x --full":             "--document refreshes these documents",
		"sync --document api::a.a/x":           "cannot be a documentId",
		"sync --document x --since 2026-01-01": "--document refreshes these documents",
	} {
		got := dealbox(t, h.env, "", args)
		require.Equal(t, exitUsage, got.code, args)
		require.Contains(t, got.stderr, want, args)
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	for listed, want := range map[int64]int{0: 0, 50: 15, 100: 30, 120: 30} {
		text := bar(dbsqlc.ReconciliationRun{Expected: 100, Listed: listed})
		require.Len(t, text, len(bar(dbsqlc.ReconciliationRun{})))
		n := 0
		for _, r := range text {
			if r == '=' {
				n++
			}
		}
		require.Equal(t, want, n, text)
	}
}
