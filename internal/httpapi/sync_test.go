package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/httpapi"
	"dealbox/internal/pgtest"
)

func TestSync(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	sync := func(token, body string) answer {
		r := h.request(http.MethodPost, "/api/v1/models/ingest/strapi-sync", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		return h.do(r)
	}
	requireError(t, sync(readToken, ""), 403, "forbidden")
	requireError(t, sync(adminToken, `{"entity_types":`), 400, "invalid_body")
	requireError(t, sync(adminToken, `{"entity_types":"billings"}`), 400, "invalid_body")
	requireError(t, sync(adminToken, `{"entity_types":["billings"]} {}`), 400, "invalid_body")
	requireError(t, sync(adminToken, `{"entity_typs":["billings"]}`), 400, "invalid_parameter")
	unknown := sync(adminToken, `{"entity_types":["pipeline-deals","invoices"]}`)
	requireError(t, unknown, 400, "invalid_parameter")
	require.Equal(t, "entity_types", at(t, unknown.json(t), "error", "details", "field"))
	require.Contains(t, string(unknown.body), `no type \"invoices\" is configured; there are pipeline-deals, billings`)
	for _, body := range []string{"", `{}`, `{"entity_types":[]}`, `{"entity_types":["pipeline-deals","billings"]}`, `{"entity_types":["api::billing.billing"]}`} {
		got := sync(adminToken, body)
		require.Equal(t, 202, got.StatusCode, string(got.body))
		require.Equal(t, "accepted", got.json(t)["status"])
		require.Equal(t, "1", got.json(t)["run_id"], "one that waits is enough")
	}
	require.Equal(t, "ada sync 5", h.MustText("SELECT concat_ws(' ', actor, action, count(*)) FROM operator_action GROUP BY actor, action"), "each request, also one that finds a run waiting")
	require.Equal(t, "full demand ada waiting", h.MustText("SELECT concat_ws(' ', kind, trigger, actor, status) FROM reconciliation_run"))

	h.MustExec("DELETE FROM reconciliation_run")
	require.Equal(t, 202, sync(adminToken, `{"entity_types":["billings","api::billing.billing"]}`).StatusCode)
	require.Equal(t, 202, sync(adminToken, `{"entity_types":["pipeline-deals"],"since":"2026-01-31T09:00:00+01:00"}`).StatusCode)
	require.Equal(t, 202, sync(adminToken, `{"since":"2026-02-01"}`).StatusCode, "joins the one that waits")
	require.Equal(t, []string{"delta  2026-01-31 08:00:00+00", "full {api::billing.billing} "},
		h.MustTexts("SELECT concat_ws(' ', kind, coalesce(types::text, ''), coalesce((since AT TIME ZONE 'UTC')::text || '+00', '')) FROM reconciliation_run ORDER BY kind"))

	h.MustExec("INSERT INTO entity_sync (uid, document_id, locale) VALUES ($1, 'known', 'en'), ($1, 'known', 'th')", dealUID)
	got := sync(adminToken, `{"documents":["known","never","never"]}`)
	require.Equal(t, 202, got.StatusCode, string(got.body))
	require.Equal(t, "refresh_queued", got.json(t)["action"])
	require.Equal(t, "4", got.json(t)["refreshes"], "in each locale; one that was never seen, of each type")
	require.Equal(t, []string{"api::billing.billing never ", dealUID + " known en", dealUID + " known th", dealUID + " never "},
		h.MustTexts("SELECT concat(uid, ' ', document_id, ' ', locale) FROM entity_sync WHERE want_seq > done_seq ORDER BY 1"))
	require.Equal(t, 4, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'mirror_sync'"))
	require.Equal(t, `["known", "never", "never"]`, h.MustText("SELECT details->>'documents' FROM operator_action ORDER BY id DESC LIMIT 1"))
	for body, field := range map[string]string{
		`{"documents":[""]}`:                           "documents",
		`{"documents":["a"],"since":"2026-02-01"}`:     "since",
		`{"since":"yesterday"}`:                        "since",
		`{"since":"2999-01-01"}`:                       "since",
		`{"documents":[]}`:                             "documents",
		`{"documents":["a/b"]}`:                        "documents",
		`{"documents":["a"],"entity_types":["bills"]}`: "entity_types",
	} {
		got := sync(adminToken, body)
		requireError(t, got, 400, "invalid_parameter")
		require.Equal(t, field, at(t, got.json(t), "error", "details", "field"), body)
	}
}

func TestHealth_Reconciliation(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec(`INSERT INTO reconciliation_run (kind, trigger, status, finished_at, baseline, missing, ghosts) VALUES
		('full', 'start', 'done', '2026-11-24T07:00:00Z', false, 10000, 0)`)
	require.EqualValues(t, "0", at(t, h.get("/api/v1/health/detailed").json(t), "reconciliation", "drift"), "Dealbox was new: nothing had drifted")
	h.MustExec(`INSERT INTO reconciliation_run (kind, trigger, status, finished_at, baseline, missing, ghosts) VALUES
		('full', 'start', 'done', '2026-11-24T08:00:00Z', true, 2, 1), ('delta', 'schedule', 'done', '2026-11-24T08:30:00Z', true, 5, 0)`)
	h.MustExec(`INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, enqueued, lost)
		VALUES (2, 'u', 'd', '', 'stale', true, true), (2, 'u', 'e', '', 'stale', true, false)`)
	got := at(t, h.get("/api/v1/health/detailed").json(t), "reconciliation").(map[string]any)
	require.Equal(t, "2026-11-24T08:30:00Z", got["last_run_at"])
	require.Equal(t, "2026-11-24T08:00:00Z", got["last_full_run_at"])
	require.EqualValues(t, "1", got["lost_webhooks_24h"])
	require.EqualValues(t, "3", got["drift"])
}

// Without a worker nobody reconciles, and without events nothing else tells.
func TestHealth_ReconcileOverdue(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.ReconcileInterval = time.Minute })
	requireHealth := func(status, word string) {
		t.Helper()
		tree := h.get(detailedPath).json(t)
		require.Equal(t, status, tree["status"])
		require.Equal(t, word, at(t, tree, "checks", "reconciliation:last_run").([]any)[0].(map[string]any)["observedValue"])
	}
	requireHealth("healthy", "working")
	h.MustExec("INSERT INTO reconciliation_run (kind, trigger, status, finished_at) VALUES ('full', 'start', 'done', now() - interval '14 minutes')")
	requireHealth("degraded", "overdue")
	h.MustExec("INSERT INTO reconciliation_run (kind, trigger, status, lease_until) VALUES ('full', 'demand', 'running', now() + interval '45 seconds')")
	requireHealth("healthy", "working")
	h.MustExec("UPDATE reconciliation_run SET lease_until = now() - interval '14 minutes' WHERE status = 'running'") // its runner died
	requireHealth("degraded", "overdue")
	h.MustExec("UPDATE circuit_breaker SET state = 'open', opened_at = now(), retry_at = now() + interval '1 minute'")
	requireHealth("degraded", "working")
}

// Deletions that are held back are an operator's business, whatever else is well.
func TestHealth_TrippedGuard(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec("INSERT INTO deletion_guard (uid) VALUES ('never-tripped')")
	require.Equal(t, "healthy", h.get("/api/v1/health/detailed").json(t)["status"])
	h.MustExec("INSERT INTO deletion_guard (uid, tripped_at) VALUES ('tripped', now())")
	got := h.get("/api/v1/health/detailed").json(t)
	require.Equal(t, "degraded", got["status"])
	check := at(t, got, "checks", "reconciliation:guard").([]any)[0].(map[string]any)
	require.Equal(t, "warn", check["status"])
	require.Equal(t, "tripped", check["observedValue"])
	h.MustExec("UPDATE deletion_guard SET tripped_at = NULL")
	require.Equal(t, "healthy", h.get("/api/v1/health/detailed").json(t)["status"])
}
