package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/webhooksig"
)

// Forged deliveries leave no row. One alert a window counts them.
func TestServe_SignatureFailures(t *testing.T) {
	t.Parallel()
	h := startService(t)
	for range 60 {
		h.refused("X-Strapi-Signature", strings.Repeat("0", 64))
	}
	require.Equal(t, "0 0", h.MustText(`SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event), (SELECT count(*) FROM alert WHERE rule = 'signature_failures'))`))

	watch := h.signatureWatch()
	watch.evaluate(t.Context(), watch.take())
	require.Equal(t, "wrong_secret critical 60", h.MustText(`SELECT concat_ws(' ', subject, level, details->>'refused') FROM alert WHERE rule = 'signature_failures'`))
	watch.evaluate(t.Context(), watch.take())
	require.Equal(t, "1", h.MustText(`SELECT occurrences::text FROM alert WHERE rule = 'signature_failures'`), "each is counted once")
}

// A quiet Strapi that lost its plugin raises the alert, too, if it takes several windows.
func TestServe_SignatureFailures_Unsigned(t *testing.T) {
	t.Parallel()
	h := startService(t)
	watch := h.signatureWatch()
	for range 3 {
		require.Equal(t, "0", h.MustText(`SELECT count(*)::text FROM alert WHERE rule = 'signature_failures'`))
		h.refused("X-Strapi-Event", "entry.update")
		watch.evaluate(t.Context(), watch.take())
	}
	require.Equal(t, "unsigned error 3", h.MustText(`SELECT concat_ws(' ', subject, level, details->>'refused') FROM alert WHERE rule = 'signature_failures'`))

	watch.evaluate(t.Context(), watch.take())
	require.Equal(t, "firing", h.MustText(`SELECT status FROM alert WHERE rule = 'signature_failures'`), "silence proves nothing")
	require.Equal(t, 202, h.deliver("msg_signed"))
	watch.evaluate(t.Context(), watch.take())
	require.Equal(t, "resolved", h.MustText(`SELECT status FROM alert WHERE rule = 'signature_failures'`))
}

const trigger = `{"event":"trigger-test"}`

// running is the service on loopback, with a database of its own and no Strapi.
type running struct {
	pgtest.DB

	service *Service
	address string
}

func startService(t *testing.T) *running {
	t.Helper()
	url := pgtest.URL(t)
	config := mustLoad(t, required.with("DATABASE_URL", url, "STRAPI_URL", "http://127.0.0.1:1", "SHUTDOWN_TIMEOUT", "2m", "SHUTDOWN_DELAY", "0"), Everything...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	s, err := New(ctx, config, RoleAPI, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	h := &running{DB: pgtest.OpenOn(t, url), service: s, address: "http://" + listener.Addr().String()}
	require.Eventually(t, func() bool {
		res, err := http.Get(h.address + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, 5*time.Minute, 20*time.Millisecond)
	return h
}

// deliver posts a signed delivery until it is answered otherwise than with 503, and
// returns the status.
func (h *running) deliver(id string) (status int) {
	h.T.Helper()
	require.Eventually(h.T, func() bool {
		header, err := webhooksig.Sign(webhooksig.SchemeStandard, goodSecret, id, time.Now(), []byte(trigger))
		require.NoError(h.T, err)
		status = h.post(header)
		return status != http.StatusServiceUnavailable
	}, time.Minute, 20*time.Millisecond)
	return status
}

// refused sends a delivery with one more header and sees it refused.
func (h *running) refused(name, value string) {
	h.T.Helper()
	require.Equal(h.T, http.StatusUnauthorized, h.post(http.Header{name: {value}}))
}

func (h *running) post(header http.Header) (status int) {
	h.T.Helper()
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodPost, h.address+"/api/v1/webhooks/strapi", strings.NewReader(trigger))
	require.NoError(h.T, err)
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(h.T, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(h.T, res.Body.Close())
	return res.StatusCode
}

func (h *running) signatureWatch() *signatureWatch {
	h.T.Helper()
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(h.T, err)
	return &signatureWatch{take: h.service.signatures, pool: h.Pool, log: slog.New(slog.DiscardHandler),
		alerts: alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))}
}
