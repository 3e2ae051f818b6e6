package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/webhooksig"
)

const (
	testSecret = "a-webhook-secret-for-tests-only"
	testToken  = "a-read-only-token-for-tests"
)

// patience is the deadline of a wait. It is longer than Dealbox takes when a step was cut
// short, as on a busy machine: a lease ends after 45 s, River rescues a job after 60 s,
// and the job of the next minute continues.
const patience = 5 * time.Minute

// env is the service as `dealbox serve` runs it, beside a simulated Strapi.
type env struct {
	pgtest.DB

	fake    *fakestrapi.Strapi
	env     environ
	address string
	log     *slog.Logger // of the service
}

func newEnv(t *testing.T, strapiConfig fakestrapi.Config, pairs ...string) *env {
	t.Helper()
	h := &env{log: slog.New(slog.DiscardHandler)}
	strapiConfig.Token = testToken
	var err error
	h.fake, err = fakestrapi.New(strapiConfig)
	require.NoError(t, err)
	server, err := h.fake.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		h.fake.Faults.Clear()
		_ = server.Close(context.Background())
		_ = h.fake.Close()
	})
	h.env = environ{
		"DATABASE_URL": pgtest.URL(t), "STRAPI_URL": server.URL, "STRAPI_API_TOKEN": testToken,
		"STRAPI_WEBHOOK_SECRET": testSecret, "PORT": "0", "RETRY_INITIAL_DELAY": "10ms", "RETRY_MAX_DELAY": "20ms",
		"SHUTDOWN_DELAY": "0", "SHUTDOWN_TIMEOUT": "2m", // a busy machine takes longer than 8 s to drain
	}.with(pairs...)
	// Not app.OpenPool: its limits are for Dealbox, not for what a test asks.
	h.DB = pgtest.OpenOn(t, h.env["DATABASE_URL"])
	return h
}

// serve runs the service until the test ends.
func (h *env) serve() {
	h.T.Helper()
	config, err := app.LoadConfig(h.env.getenv, app.Everything...)
	require.NoError(h.T, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.T, err)
	h.address = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s, err := app.New(ctx, config, app.RoleAll, "test", h.log)
	require.NoError(h.T, err)
	// Its cause is why the service ended; Canceled, when it ended as it should.
	running, ended := context.WithCancelCause(context.Background())
	go func() { ended(s.Run(ctx, listener)) }()
	h.T.Cleanup(func() {
		stop()
		<-running.Done()
		require.EqualError(h.T, context.Cause(running), context.Canceled.Error())
	})
	err = waitReady(running, h.address)
	require.NoError(h.T, err, "%v", context.Cause(running))
}

// deliver posts a body as a signing Strapi would, and returns the status.
func (h *env) deliver(id, body string) (status int) {
	h.T.Helper()
	return sentAgain(func() int { status, _ = h.tryDeliver(id, body); return status })
}

// sentAgain sends until the answer is not 503, as the plugin does: on a busy machine a
// commit may take too long. After a minute it returns the last status.
func sentAgain(send func() int) (status int) {
	for start := time.Now(); time.Since(start) < time.Minute; {
		if status = send(); status != 0 && status != http.StatusServiceUnavailable {
			break
		}
	}
	return status
}

// tryDeliver returns the status and the Retry-After.
func (h *env) tryDeliver(id, body string) (status int, retryAfter string) {
	h.T.Helper()
	header, err := webhooksig.Sign(webhooksig.SchemeStandard, testSecret, id, time.Now(), []byte(body))
	require.NoError(h.T, err)
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodPost, h.address+"/api/v1/webhooks/strapi", strings.NewReader(body))
	require.NoError(h.T, err)
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(h.T, err)
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Retry-After")
}

// get reads a JSON answer.
func (h *env) get(path string) (answer map[string]any) {
	h.T.Helper()
	req, err := http.NewRequestWithContext(h.T.Context(), http.MethodGet, h.address+path, nil)
	require.NoError(h.T, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(h.T, err)
	defer func() { _ = res.Body.Close() }()
	decoder := json.NewDecoder(res.Body)
	decoder.UseNumber()
	require.NoError(h.T, decoder.Decode(&answer))
	return answer
}

// health returns detailed health once it is complete: a probe has 1.5 s, which a busy
// machine may need for a first connection.
func (h *env) health() (answer map[string]any) {
	h.T.Helper()
	h.eventually("health is complete", func() bool {
		answer = h.get("/api/v1/health/detailed")
		reads, _ := answer["checks"].(map[string]any)["postgres:reads"].([]any)
		return len(reads) == 1 && reads[0].(map[string]any)["observedValue"] == "complete"
	})
	return answer
}

// waitIdle waits until the mirror and the forecast have everything that was received, and
// returns the ledger.
func (h *env) waitIdle() dbsqlc.InboxLedger {
	h.T.Helper()
	var ledger dbsqlc.InboxLedger
	require.Eventually(h.T, func() bool {
		var behind, dirty int
		err := h.Pool.QueryRow(h.T.Context(), `SELECT (SELECT count(*) FROM entity_sync WHERE done_seq < want_seq AND state <> 'dead'),
			(SELECT count(*) FROM forecast_scope WHERE done < want)`).Scan(&behind, &dirty)
		if err != nil || behind+dirty > 0 {
			return false
		}
		ledger, err = dbsqlc.New().InboxLedger(h.T.Context(), h.Pool)
		return err == nil
	}, patience, 50*time.Millisecond, "the service has work left")
	return ledger
}

// waitReady returns when the service accepts webhooks.
func waitReady(ctx context.Context, address string) error {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ctx.Err()
}
