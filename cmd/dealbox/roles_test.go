package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

// The service and its commands do all that they do with the privileges of the app role.
func TestServe_AsTheAppRole(t *testing.T) {
	t.Parallel()
	roles := pgtest.SeparateRoles(t)
	alerts, sinkURL := newSink(t)
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)},
		"DATABASE_URL", roles.App, "ALERT_WEBHOOK_URL", sinkURL, "ALERT_WEBHOOK_SECRET", sinkSecret, "ADMIN_TOKEN", goodAdmin,
		"JOB_MAX_ATTEMPTS", "1", "RETRY_MAX_RETRIES", "0", "RECONCILE_INTERVAL", "1s", "FORECAST_CURRENCY", "EUR")
	log := &pgtest.Log{}
	h.log = slog.New(slog.NewTextHandler(log, nil))
	var ids []string
	for i := range 3 {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{
			"name": fmt.Sprint("deal ", i), "status": "active", "stage": "closed-won", "deal_value": 100, "currency": "EUR", "recognition_start_month": "2026-11-01",
		})
		require.NoError(t, err)
		ids = append(ids, e.DocumentID)
	}
	h.serve()
	h.eventually("the reconciliation at start", func() bool { return h.MustText("SELECT count(*)::text FROM deal") == "3" })
	h.waitIdle()

	// Webhooks: processed, ignored, quarantined, a duplicate, a dead letter with its alert.
	_, err := h.fake.Update(fakestrapi.DealUID, ids[0], fakestrapi.Values{"deal_value": 400})
	require.NoError(t, err)
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: ids[2:]})
	for id, body := range map[string]string{
		"msg_1": update(ids[0]), "msg_2": `{"event":"trigger-test"}`, "msg_3": "{", "msg_4": update(ids[2]),
		"msg_5": strings.Replace(update(ids[1]), "entry.update", "entry.delete", 1),
	} {
		if id == "msg_5" {
			require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, ids[1]))
		}
		require.Equal(t, http.StatusAccepted, h.deliver(id, body))
		require.Equal(t, http.StatusAccepted, h.deliver(id, body))
	}
	h.eventually("the dead letter is notified", func() bool { return len(alerts.all()) == 1 })
	require.Equal(t, "alert.firing event_dead_lettered error", alerts.all()[0])
	ledger := h.waitIdle()
	require.Equal(t, []int64{5, 2, 1, 1, 1}, []int64{ledger.Received, ledger.Processed, ledger.Dead, ledger.Ignored, ledger.Quarantined})
	require.Equal(t, "2026-11 500/0/0", h.months("2026-11", "2026-11"), "400 and 100: one was deleted, the dead one is as it was")

	// Commands, and recovery.
	h.fake.Faults.Clear()
	for _, command := range []string{
		"events list", "events replay --dead", "sync --full --wait", "sync --allow-deletes --wait",
		"breaker show", "breaker force-open --reason test", "breaker reset --reason test", "migrate status",
	} {
		out := dealbox(t, h.env, "", command)
		require.Equal(t, exitDone, out.code, "%s: %s%s", command, out.stdout, out.stderr)
	}
	h.eventually("the end is notified", func() bool {
		return strings.Contains(fmt.Sprint(alerts.all()), "alert.resolved event_dead_lettered error")
	})
	h.waitIdle()
	h.requireMirrorEqualsStrapi()
	require.Equal(t, "healthy", h.health()["status"])
	for _, kind := range []string{"retention", "inbox_partitions"} {
		h.eventually(kind+" ran", func() bool {
			return h.MustText("SELECT count(*)::text FROM river.river_job WHERE kind = $1 AND state = 'completed'", kind) != "0"
		})
	}
	require.NotContains(t, log.String(), "permission denied")
	require.NotContains(t, log.String(), "42501")
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM river.river_job WHERE errors::text LIKE '%42501%'"))
}

func TestMigrate_AsTheAppRole(t *testing.T) {
	t.Parallel()
	out := dealbox(t, environ{"DATABASE_URL": pgtest.SeparateRoles(t).App}, "", "migrate up")
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "set DATABASE_MIGRATE_URL to a role that owns the tables")
}
