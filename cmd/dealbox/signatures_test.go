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
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	s := h.serve()
	for range 60 {
		h.refused("X-Strapi-Signature", strings.Repeat("0", 64))
	}
	require.Equal(t, "0 0", h.text(`SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event), (SELECT count(*) FROM alert WHERE rule = 'signature_failures'))`))

	watch := h.signatureWatch(s)
	watch.judge(t.Context(), watch.take())
	require.Equal(t, "wrong_secret critical 60", h.text(`SELECT concat_ws(' ', subject, level, details->>'refused') FROM alert WHERE rule = 'signature_failures'`))
	watch.judge(t.Context(), watch.take())
	require.Equal(t, "1", h.text(`SELECT occurrences::text FROM alert WHERE rule = 'signature_failures'`), "each is counted once")
}

// A quiet Strapi that lost its plugin is told of, too, if it takes several windows.
func TestServe_SignatureFailures_Unsigned(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	s := h.serve()
	watch := h.signatureWatch(s)
	for range 3 {
		require.Equal(t, "0", h.text(`SELECT count(*)::text FROM alert WHERE rule = 'signature_failures'`))
		h.refused("X-Strapi-Event", "entry.update")
		watch.judge(t.Context(), watch.take())
	}
	require.Equal(t, "unsigned error 3", h.text(`SELECT concat_ws(' ', subject, level, details->>'refused') FROM alert WHERE rule = 'signature_failures'`))

	watch.judge(t.Context(), watch.take())
	require.Equal(t, "firing", h.text(`SELECT status FROM alert WHERE rule = 'signature_failures'`), "silence proves nothing")
	require.Equal(t, 202, h.deliver("msg_signed", update("x")))
	watch.judge(t.Context(), watch.take())
	require.Equal(t, "resolved", h.text(`SELECT status FROM alert WHERE rule = 'signature_failures'`))
}

// refused sends a delivery with one more header and sees it refused.
func (h *env) refused(header, value string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.address+"/api/v1/webhooks/strapi", strings.NewReader(update("x")))
	require.NoError(h.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(header, value)
	res, err := http.DefaultClient.Do(req)
	require.NoError(h.t, err)
	require.NoError(h.t, res.Body.Close())
	require.Equal(h.t, http.StatusUnauthorized, res.StatusCode)
}

func (h *env) signatureWatch(s *Service) *signatureWatch {
	h.t.Helper()
	inserter, err := jobs.NewInserter(h.pool, nil, nil)
	require.NoError(h.t, err)
	return &signatureWatch{take: s.signatures, pool: h.pool, log: slog.New(slog.DiscardHandler),
		alerts: alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))}
}
