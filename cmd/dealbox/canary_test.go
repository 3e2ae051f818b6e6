package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

// Whatever goes wrong, no secret is in the log, in answers, in metrics or in the tables
// that people read.
func TestServe_ShowsNoSecret(t *testing.T) {
	t.Parallel()
	secret := func(of string) string { return of + "-" + canary }
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)},
		"STRAPI_API_TOKEN", secret("strapi"), // which Strapi refuses
		"STRAPI_WEBHOOK_SECRET", secret("old")+","+secret("new"), "STRAPI_WEBHOOK_TOKEN", secret("static"),
		"API_TOKEN", secret("reads"), "ADMIN_TOKEN", "ann="+secret("ann"),
		"ALERT_WEBHOOK_URL", "http://127.0.0.1:1/"+canary+"?key="+canary, "ALERT_WEBHOOK_SECRET", secret("alerts"), "ALERT_NOTIFY_LEVEL", "info",
		"HEARTBEAT_URL", "http://127.0.0.1:1/"+canary)
	log := &pgtest.Log{}
	h.log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.serve()
	var answers strings.Builder
	ask := func(method, path, body string, headers ...string) {
		req, err := http.NewRequestWithContext(t.Context(), method, h.address+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		fmt.Fprintln(&answers, res.Status, res.Header, string(text))
	}
	const webhook, trigger = "/api/v1/webhooks/strapi", `{"event":"trigger-test"}`
	json := []string{"Content-Type", "application/json"}
	ask(http.MethodPost, webhook, trigger, append(json, "Authorization", "Bearer "+secret("static"))...)
	ask(http.MethodPost, webhook, trigger, append(json, "Authorization", "Bearer "+secret("static")+"x")...)
	ask(http.MethodPost, webhook, trigger, append(json, "X-Strapi-Signature", secret("old"))...)
	ask(http.MethodPost, webhook+"?secret="+canary, trigger, json...)
	ask(http.MethodPost, "/api/v1/models/forecast/run", "", "Authorization", "Bearer "+secret("reads"))
	h.eventually("Strapi's refusal is an alert", func() bool {
		return h.MustText("SELECT count(*)::text FROM alert WHERE rule = 'strapi_token_refused'") != "0"
	})
	for _, path := range []string{"/", "/api/v1/health", "/api/v1/health/detailed", "/metrics", "/api/v1/alerts", "/api/v1/events", "/nothing"} {
		ask(http.MethodGet, path, "", "Authorization", "Bearer "+secret("ann"))
	}
	require.NotContains(t, answers.String(), canary)
	require.NotContains(t, log.String(), canary)
	require.Contains(t, log.String(), "signature_mismatch")
	for _, table := range []string{"alert", "alert_event", "notification", "inbox_event", "circuit_breaker", "reconciliation_run", "river.river_job"} {
		require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM "+table+" t WHERE t::text LIKE '%"+canary+"%'"), table)
	}
}
