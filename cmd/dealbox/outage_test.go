package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

// sink is a receiver of alerts that checks their signatures.
type sink struct {
	mu  sync.Mutex
	got []string // "alert.firing breaker_opened critical"
}

const sinkSecret = "whsec_c2lnbmVkLWFsZXJ0cy1mb3ItdGVzdHMtb25seQ=="

func newSink(t *testing.T) (*sink, string) {
	t.Helper()
	verifier, err := webhooks.NewWebhook(sinkSecret)
	require.NoError(t, err)
	s := &sink{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct {
			Type string
			Data struct{ Alert struct{ Rule, Level string } }
		}
		if err := verifier.Verify(body, r.Header); err != nil || json.Unmarshal(body, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if m.Data.Alert.Rule == alerting.RuleWebhooksRefused {
			return // of a busy machine: a delivery was answered 503, and sent again
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, m.Type+" "+m.Data.Alert.Rule+" "+m.Data.Alert.Level)
	}))
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

// Strapi fails: the breaker opens, the operator is notified, webhooks are still
// taken, nothing is lost or deleted, and all of it recovers by itself.
func TestServe_StrapiOutage(t *testing.T) {
	t.Parallel()
	alerts, sinkURL := newSink(t)
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)},
		"ALERT_WEBHOOK_URL", sinkURL, "ALERT_WEBHOOK_SECRET", sinkSecret, "CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "2s")
	h.serve()
	var ids []string
	for i := range 20 {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "status": "active", "deal_value": 100})
		require.NoError(t, err)
		ids = append(ids, e.DocumentID)
		require.Equal(t, 202, h.deliver("msg_create_"+e.DocumentID, update(e.DocumentID)))
	}
	h.waitIdle()

	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502, Body: "<html>bad gateway</html>"})
	for i, id := range ids {
		_, err := h.fake.Update(fakestrapi.DealUID, id, fakestrapi.Values{"name": fmt.Sprint("changed ", i)})
		require.NoError(t, err)
		require.Equal(t, 202, h.deliver("msg_change_"+id, update(id)), "webhooks are taken while Strapi is away")
	}
	h.eventually("the breaker opens", func() bool { return h.MustText("SELECT state FROM circuit_breaker") != "closed" })
	h.eventually("the critical alert arrives", func() bool { return len(alerts.all()) > 0 })
	require.Equal(t, "alert.firing breaker_opened critical", alerts.all()[0])
	health := h.health()
	require.Equal(t, "degraded", health["status"])
	require.Equal(t, "disconnected", health["services"].(map[string]any)["strapi"])
	h.eventually("a probe fails", func() bool {
		return h.MustText("SELECT count(*)::text FROM circuit_breaker_event WHERE from_state = 'half_open' AND to_state = 'open'") != "0"
	})
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM deal WHERE deleted_at IS NOT NULL"))
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM entity_sync WHERE state = 'dead' OR failures > 1"), "an outage burns no attempt")

	h.fake.Faults.Clear()
	ledger := h.waitIdle()
	require.EqualValues(t, 40, ledger.Processed)
	h.requireMirrorEqualsStrapi()
	require.Equal(t, "20", h.MustText("SELECT count(*)::text FROM deal WHERE name LIKE 'changed %'"))
	h.eventually("the end is notified", func() bool { return len(alerts.all()) == 2 })
	require.Equal(t, "alert.resolved breaker_opened critical", alerts.all()[1])
	require.Equal(t, "healthy", h.health()["status"])
}

func (h *env) eventually(what string, condition func() bool) {
	h.T.Helper()
	require.Eventually(h.T, condition, patience, 20*time.Millisecond, what)
}

func update(documentID string) string {
	return fmt.Sprintf(`{"event":"entry.update","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q}}`, fakestrapi.DealUID, documentID)
}

// Strapi refuses the token: an alert, no dead letters, and every document is
// refreshed when it accepts one again.
func TestServe_TokenRefused(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": "waits"})
	require.NoError(t, err)
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultUnauthorized})
	h.serve()
	require.Equal(t, 202, h.deliver("msg_1", update(e.DocumentID)))
	refused := func() string {
		return h.MustText("SELECT (SELECT level || ' ' || status FROM alert WHERE rule = 'strapi_token_refused')")
	}
	h.eventually("the alert is raised", func() bool { return refused() == "critical firing" })
	require.Equal(t, "degraded", h.health()["status"])
	require.Equal(t, "closed", h.MustText("SELECT state FROM circuit_breaker"), "a refusal is an answer")

	h.fake.Faults.Clear()
	h.waitIdle()
	h.eventually("it resolves by itself", func() bool { return refused() == "critical resolved" })
	h.requireMirrorEqualsStrapi()
}

// Postgres is away, by every way of being away: 503 within 8 s, nothing is said
// that is not so, and Dealbox recovers by itself.
func TestServe_PostgresAway(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"refuses", "hangs"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
			direct := h.env["DATABASE_URL"]
			between := newProxy(t, direct)
			h.env = h.env.with("DATABASE_URL", between.url(t, direct))
			h.serve()
			e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": "deal"})
			require.NoError(t, err)
			require.Equal(t, 202, h.deliver("msg_before", update(e.DocumentID)))
			h.waitIdle()

			between.set(way)
			start := time.Now()
			status, retryAfter := h.tryDeliver("msg_during", update(e.DocumentID))
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.NotEmpty(t, retryAfter)
			// 7 s is its limit, and a busy machine's own time comes on top.
			require.Less(t, time.Since(start), time.Minute)
			require.Equal(t, "unhealthy", h.get("/api/v1/health")["status"])

			between.set("works")
			h.eventually("the refused webhooks raise an alert without another webhook", func() bool {
				return pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert WHERE rule = 'webhooks_refused'") == 1
			})
			h.eventually("webhooks are taken again", func() bool {
				status, _ := h.tryDeliver("msg_after", update(e.DocumentID))
				return status == http.StatusAccepted
			})
			h.waitIdle()
			// A run that Postgres cut short is taken over when its lease ends, after 45 s.
			require.Eventually(t, func() bool {
				return h.MustText("SELECT (SELECT level || ' ' || status FROM alert WHERE rule = 'webhooks_refused')") == "error resolved"
			}, 2*patience, 50*time.Millisecond, "the alert about refused webhooks resolves")
			h.eventually("health is healthy", func() bool { return h.get("/api/v1/health")["status"] == "healthy" })
			require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM inbox_event WHERE dedup_key = sha256('msg_after')"))
		})
	}
}

// Postgres fails a step of the start after it answered: Dealbox takes the step
// again. It takes webhooks by then, and must not end.
func TestServe_AStepOfTheStartFails(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.deals(3)
	log := &pgtest.Log{}
	h.log = slog.New(slog.NewTextHandler(log, nil))
	locked, err := h.Pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = locked.Exec(t.Context(), "LOCK TABLE reconciliation_run") // which the start requests
	require.NoError(t, err)

	h.serve()
	h.eventually("a step fails", func() bool { return strings.Contains(log.String(), "a step of the start failed") })
	require.Equal(t, 202, h.deliver("msg_1", update("meanwhile")))
	require.NoError(t, locked.Rollback(t.Context()))
	h.eventually("the mirror is filled", func() bool { return h.MustText("SELECT count(*)::text FROM deal") == "3" })
	h.waitIdle()
}

// proxy stands between Dealbox and Postgres.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	state string // works, refuses, hangs
	conns []net.Conn
}

func newProxy(t *testing.T, databaseURL string) *proxy {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: u.Host, state: "works"}
	go p.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		p.set("refuses")
	})
	return p
}

func (p *proxy) url(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	u.Host = p.listener.Addr().String()
	return u.String()
}

// set changes the state. Refusing cuts all connections; hanging leaves them
// open and carries nothing any more.
func (p *proxy) set(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state != "hangs" {
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.conns = nil
	}
	p.state = state
}

func (p *proxy) is(state string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == state
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.is("refuses") {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go p.carry(client, server)
		go p.carry(server, client)
	}
}

func (p *proxy) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			if !p.is("hangs") {
				_ = to.Close()
			}
			return
		}
		if p.is("hangs") {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
