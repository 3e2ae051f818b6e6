package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/health"
	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	secret     = "a-webhook-secret-of-enough-bytes"
	readToken  = "read-token-of-enough-bytes"
	adminToken = "admin-token-of-enough-bytes"
	dealUID    = "api::pipeline-deal.pipeline-deal"
)

// env is the API over real stages, served on a real port.
type env struct {
	pgtest.DB

	alerts *alerting.Alerts
	ready  *health.Readiness
	api    *httpapi.API
	url    string
	stop   func() // the server; its connections too
	log    *pgtest.Log
}

// build wires the stages over the pool. The changes are made before New.
func build(t testing.TB, pool *pgxpool.Pool, changes ...func(*httpapi.Config, *httpapi.Stages)) *env {
	t.Helper()
	h := &env{DB: pgtest.DB{T: t, Pool: pool}, ready: &health.Readiness{}, log: &pgtest.Log{}}
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(t, err)
	h.alerts = alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	queue, runs := mirror.NewQueue(inserter), reconcile.NewQueue(inserter)
	types := []strapi.ContentType{
		{Kind: strapi.Deal, UID: dealUID, Plural: "pipeline-deals"},
		{Kind: strapi.Billing, UID: "api::billing.billing", Plural: "billings"},
	}
	receiver := inbox.NewReceiver(pool, queue, runs, h.alerts, inbox.Config{
		Types: types,
	})
	t.Cleanup(func() { _ = receiver.Close(context.Background()) })
	verifier, err := webhooksig.NewVerifier(webhooksig.Config{Secrets: []string{secret}})
	require.NoError(t, err)
	// A busy machine takes its time over a first connection; health is not about that.
	config := httpapi.Config{Version: "1.2.3", ProbeTimeout: 30 * time.Second, Logger: slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	stages := httpapi.Stages{
		DB: pool, Verifier: verifier, Receive: receiver.Receive, Commits: health.NewCommits(receiver.Probe), Readiness: h.ready, Reconcile: runs.Request, Refresh: queue.EnqueueNamed,
		Alerts:   h.alerts,
		Breaker:  circuit.New(pool, circuit.Config{}),
		Forecast: revenue.New(revenue.Config{Currency: "THB"}, inserter),
		Types:    types,
		Replays:  inbox.NewReplayer(pool, queue, types), Groups: receiver.Groups,
	}
	for _, change := range changes {
		change(&config, &stages)
	}
	h.ready.Ready()
	h.api, err = httpapi.New(config, stages)
	require.NoError(t, err)
	server := httptest.NewServer(h.api.Handler())
	t.Cleanup(server.Close)
	h.url = server.URL
	h.stop = func() {
		server.CloseClientConnections()
		server.Close()
	}
	return h
}

func open(t testing.TB, changes ...func(*httpapi.Config, *httpapi.Stages)) *env {
	t.Helper()
	return build(t, pgtest.Pool(t), changes...)
}

// dead is a pool to a port where nobody listens.
func dead(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// impatient gives up on the database long before an answer is due.
func impatient(c *httpapi.Config, _ *httpapi.Stages) { c.ProbeTimeout = 200 * time.Millisecond }

func withTokens(c *httpapi.Config, _ *httpapi.Stages) {
	c.Access = httpapi.Access{APIToken: readToken, AdminTokens: []httpapi.AdminToken{{Name: "ada", Token: adminToken}}}
}

// answer is a response with its body read.
type answer struct {
	*http.Response

	body []byte
}

func (h *env) do(r *http.Request) answer {
	h.T.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(h.T, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(h.T, err)
	return answer{response, body}
}

func (h *env) request(method, path string, body io.Reader) *http.Request {
	h.T.Helper()
	r, err := http.NewRequestWithContext(h.T.Context(), method, h.url+path, body)
	require.NoError(h.T, err)
	return r
}

func (h *env) get(path string) answer {
	h.T.Helper()
	return h.do(h.request(http.MethodGet, path, nil))
}

// delivery is a signed POST of the body.
func (h *env) delivery(body string) *http.Request {
	h.T.Helper()
	r := h.request(http.MethodPost, "/api/v1/webhooks/strapi", strings.NewReader(body))
	r.Header = signed(h.T, body)
	return r
}

func signed(t testing.TB, body string) http.Header {
	t.Helper()
	header, err := webhooksig.Sign(webhooksig.SchemeStrapi, secret, "", time.Now(), []byte(body))
	require.NoError(t, err)
	header.Set("Content-Type", "application/json")
	return header
}

func dealEvent(event, documentID string) string {
	return `{"event":"` + event + `","createdAt":"2026-11-23T10:00:00.000Z","model":"pipeline-deal","uid":"` + dealUID +
		`","entry":{"id":1,"documentId":"` + documentID + `","name":"A deal"}}`
}

// json decodes the body into a tree whose numbers keep their digits.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	require.NoError(t, d.Decode(&tree), string(a.body))
	return tree
}

// at follows keys into a tree.
func at(t testing.TB, tree map[string]any, keys ...string) any {
	t.Helper()
	var v any = tree
	for _, key := range keys {
		m, ok := v.(map[string]any)
		require.True(t, ok, "no object to look %q up in: %v", key, v)
		require.Contains(t, m, key)
		v = m[key]
	}
	return v
}

// requireError checks the status, the code and the shape of an error answer.
func requireError(t testing.TB, a answer, status int, code string) map[string]any {
	t.Helper()
	require.Equal(t, status, a.StatusCode, string(a.body))
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	e, ok := a.json(t)["error"].(map[string]any)
	require.True(t, ok, string(a.body))
	require.Equal(t, code, e["code"])
	require.Equal(t, json.Number(strconv.Itoa(status)), e["status"])
	require.NotEmpty(t, e["message"])
	require.IsType(t, map[string]any{}, e["details"])
	require.Equal(t, a.Header.Get("X-Request-Id"), e["request_id"])
	_, err := time.Parse(time.RFC3339, e["timestamp"].(string))
	require.NoError(t, err)
	require.Len(t, e, 6)
	return e
}

func (h *env) raise(alert alerting.Alert) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.alerts.Raise(ctx, tx, alert)
		return err
	})
}

// logLine waits for the log line of a request: it is written after the answer is.
func (h *env) logLine(requestID string) map[string]any {
	h.T.Helper()
	var line map[string]any
	require.Eventually(h.T, func() bool {
		for text := range strings.Lines(h.log.String()) {
			var m map[string]any
			if json.Unmarshal([]byte(text), &m) == nil && m["msg"] == "request" && m["request_id"] == requestID {
				line = m
				return true
			}
		}
		return false
	}, time.Minute, 5*time.Millisecond)
	return line
}
