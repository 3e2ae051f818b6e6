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

// Refused deliveries leave no row. An alert counts them, within a tick of the running
// service and not only when the window is over.
func TestServe_SignatureFailures(t *testing.T) {
	t.Parallel()
	h := startService(t)
	for range 60 {
		h.refused("X-Strapi-Signature", strings.Repeat("0", 64))
	}
	require.Equal(t, "0", h.MustText(`SELECT count(*)::text FROM inbox_event`))
	h.MustEventually(`SELECT concat_ws(' ', subject, level, status) = 'wrong_secret critical firing' FROM alert WHERE rule = 'signature_failures'`)
	require.Equal(t, 202, h.deliver("msg_signed"))
	h.MustEventually(`SELECT status = 'resolved' FROM alert WHERE rule = 'signature_failures'`)
}

// A quiet Strapi that lost its plugin raises the alert, too, if it takes several windows.
func TestSignatureWatch_Step(t *testing.T) {
	t.Parallel()
	h := startService(t)
	unsigned := alerting.SignatureWindow{Refused: alerting.Refusals{{Code: "signature_missing", Named: true}: 1}}
	var next alerting.SignatureWindow
	watch := h.signatureWatch()
	watch.take = func() alerting.SignatureWindow { return next }
	now := time.Now()
	step := func(w alerting.SignatureWindow, passed time.Duration) {
		next, now = w, now.Add(passed)
		watch.step(t.Context(), now)
	}
	state := func() string {
		return h.MustText(`SELECT coalesce(string_agg(concat_ws(' ', subject, level, details->>'refused', status), ',' ORDER BY id), 'none') FROM alert WHERE rule = 'signature_failures'`)
	}
	watch.begun = now
	step(unsigned, signatureTick)
	step(unsigned, signatureWindow)
	require.Equal(t, "none", state())
	step(unsigned, signatureTick)
	require.Equal(t, "unsigned error 3 firing", state())

	step(alerting.SignatureWindow{}, signatureWindow)
	require.Equal(t, "unsigned error 3 firing", state(), "silence proves nothing")
	step(alerting.SignatureWindow{Accepted: 1}, signatureTick)
	require.Equal(t, "unsigned error 3 resolved", state())

	strangers := alerting.SignatureWindow{Accepted: 1, Refused: alerting.Refusals{{Code: "signature_missing"}: 60}}
	step(strangers, signatureTick)
	require.Equal(t, "unsigned error 3 resolved", state(), "a stranger is counted for a whole window")
	step(alerting.SignatureWindow{}, signatureWindow)
	require.Equal(t, "unsigned error 3 resolved,forged warning 60 firing", state())
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
