package main

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
)

// Forged deliveries leave no row. They are told of by one alert a window.
func TestServe_SignatureFailures(t *testing.T) {
	t.Parallel()
	h := newHouse(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	s := h.serve()
	for range 60 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.address+"/api/v1/webhooks/strapi", strings.NewReader(update("x")))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Strapi-Signature", strings.Repeat("0", 64))
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	}
	require.Equal(t, "0 0", h.text(`SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event), (SELECT count(*) FROM alert WHERE rule = 'signature_failures'))`))

	inserter, err := jobs.NewInserter(h.pool, nil, nil)
	require.NoError(t, err)
	watch := &signatureWatch{take: s.signatures, pool: h.pool, log: slog.New(slog.DiscardHandler),
		alerts: alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))}
	watch.judge(t.Context(), watch.take())
	require.Equal(t, "wrong_secret critical 60", h.text(`SELECT concat_ws(' ', subject, level, details->>'refused') FROM alert WHERE rule = 'signature_failures'`))
	watch.judge(t.Context(), watch.take())
	require.Equal(t, "1", h.text(`SELECT occurrences::text FROM alert WHERE rule = 'signature_failures'`), "each is counted once")
}
