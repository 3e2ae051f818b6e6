package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/webhooksig"
)

// Behind a load balancer that obeys /readyz, a stop refuses no webhook and cuts none.
func TestServe_StopBehindALoadBalancer(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, "SHUTDOWN_DELAY", "8s")
	port := freePort(t)
	h.address, h.env = "http://127.0.0.1:"+port, h.env.with("PORT", port, "LOG_LEVEL", "error")
	process := h.startProcess()

	balancer := &balancer{address: h.address, client: &http.Client{Transport: &http.Transport{}}}
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() { balancer.sendWhileReady(t, fmt.Sprint("msg_", i)) })
	}
	h.eventually("webhooks flow", func() bool { return balancer.accepted.Load() > 100 })
	balancer.signalled.Store(true)
	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	senders.Wait()

	require.Positive(t, balancer.afterSignal.Load(), "webhooks are still taken, and answered with Connection: close")
	require.NoError(t, process.Wait(), "it ends with 0")
	require.Equal(t, fmt.Sprint(balancer.accepted.Load()), h.MustText("SELECT count(*)::text FROM inbox_event"))
}

// balancer sends to one process until that is not ready any more.
type balancer struct {
	address               string
	client                *http.Client
	accepted, afterSignal atomic.Int64
	signalled             atomic.Bool
}

// sendWhileReady sends webhooks and asks /readyz between them. It sends one more after
// the first 503, because a load balancer notices late.
func (b *balancer) sendWhileReady(t *testing.T, name string) {
	for n, ready := 0, true; ready; n++ {
		status, _, err := b.do(t, http.MethodGet, "/readyz", "", "")
		if err != nil && b.signalled.Load() {
			return // its last webhook took longer than the delay: not ready, either
		}
		if err != nil || (status != http.StatusOK && status != http.StatusServiceUnavailable) {
			t.Errorf("/readyz: %d, %v", status, err)
			return
		}
		ready = status == http.StatusOK
		status, last, err := b.do(t, http.MethodPost, "/api/v1/webhooks/strapi", fmt.Sprintf("%s_%d", name, n), `{"event":"trigger-test"}`)
		if err != nil || status != http.StatusAccepted {
			t.Errorf("a webhook got %d, %v", status, err)
			return
		}
		b.accepted.Add(1)
		if last {
			b.afterSignal.Add(1)
		}
	}
}

// do returns the status, and whether the connection closes after it.
func (b *balancer) do(t *testing.T, method, path, id, body string) (status int, last bool, err error) {
	req, err := http.NewRequestWithContext(t.Context(), method, b.address+path, strings.NewReader(body))
	if err != nil {
		return 0, false, err
	}
	if id != "" {
		if req.Header, err = webhooksig.Sign(webhooksig.SchemeStandard, testSecret, id, time.Now(), []byte(body)); err != nil {
			return 0, false, err
		}
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := b.client.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Close, nil
}

// Postgres is half-open: connections stand and carry nothing. The stop ends within
// SHUTDOWN_TIMEOUT, and not when Postgres' sessions do.
func TestServe_StopWhilePostgresHangs(t *testing.T) {
	t.Parallel()
	const timeout = 4 * time.Second
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, "SHUTDOWN_TIMEOUT", timeout.String())
	direct := h.env["DATABASE_URL"]
	between := newProxy(t, direct)
	config, err := app.LoadConfig(h.env.with("DATABASE_URL", between.url(t, direct)).getenv, app.Everything...)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.address = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s, err := app.New(ctx, config, app.RoleAll, "test", h.log)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	require.NoError(t, waitReady(t.Context(), h.address))
	require.Equal(t, http.StatusAccepted, h.deliver("msg_before", `{"event":"trigger-test"}`))

	between.set("hangs")
	status, _ := h.tryDeliver("msg_during", `{"event":"trigger-test"}`)
	require.Equal(t, http.StatusServiceUnavailable, status)
	start := time.Now()
	stop()
	require.NoError(t, <-ended)
	// pgx alone waits 15 s for a session that does not end; the rest is a busy machine's own time.
	require.Less(t, time.Since(start), timeout+8*time.Second)
}
