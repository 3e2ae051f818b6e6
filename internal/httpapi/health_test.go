package httpapi_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/health"
	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/level"
)

const detailedPath = "/api/v1/health/detailed"

func TestHealth_Healthy(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, body := range []string{dealEvent("entry.update", "a"), dealEvent("entry.update", "b"), `{"event":"trigger-test"}`, `{`} {
		require.Equal(t, 202, h.do(h.delivery(body)).StatusCode)
	}
	got := h.get(detailedPath)
	require.Equal(t, 200, got.StatusCode, string(got.body))
	tree := got.json(t)
	require.Equal(t, "healthy", tree["status"], string(got.body))
	require.Equal(t, "1.2.3", tree["version"])
	require.Equal(t, map[string]any{"strapi": "connected", "database": "connected"}, tree["services"])
	require.Equal(t, map[string]any{"state": "closed", "failure_count": json.Number("0"), "opened_at": nil, "retry_at": nil, "forced": nil}, tree["circuit_breaker"])
	require.Equal(t, map[string]any{"last_run_at": nil, "last_full_run_at": nil, "lost_webhooks_24h": json.Number("0"), "drift": nil}, tree["reconciliation"])
	require.Equal(t, json.Number("2"), at(t, tree, "queues", "sync", "available"))
	require.Equal(t, json.Number("0"), at(t, tree, "queues", "forecast", "running"))
	require.Equal(t, true, at(t, tree, "forecast", "stale"), "two documents wait")
	require.NotNil(t, at(t, tree, "forecast", "stale_since"))
	require.Equal(t, json.Number("1"), at(t, tree, "alerts", "by_level", "warning"), "the quarantined body")
	for name, checks := range tree["checks"].(map[string]any) {
		c := checks.([]any)[0].(map[string]any)
		require.Equal(t, "pass", c["status"], name)
		require.NotNil(t, c["observedValue"], name)
		require.NotEmpty(t, c["time"], name)
	}

	ledger := tree["ledger"].(map[string]any)
	n := func(key string) int64 { v, err := ledger[key].(json.Number).Int64(); require.NoError(t, err); return v }
	require.Equal(t, int64(4), n("received"))
	require.Equal(t, int64(2), n("pending"))
	require.Equal(t, int64(1), n("ignored"))
	require.Equal(t, int64(1), n("quarantined"))
	require.Equal(t, n("received"), n("processed")+n("pending")+n("dead")+n("ignored")+n("quarantined"))
}

func TestHealth_Degraded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql, check, strapi string
	}{
		"BreakerOpen":     {"UPDATE circuit_breaker SET state = 'open', opened_at = now(), retry_at = now() + interval '1 minute'", "strapi:breaker", "disconnected"},
		"BreakerHalfOpen": {"UPDATE circuit_breaker SET state = 'half_open', opened_at = now(), probe_holder = 'h', probe_until = now() + interval '10 seconds'", "strapi:breaker", "disconnected"},
		"DeadLetter":      {deadLetter, "ledger:dead", "connected"},
		"OldPending":      {oldPending, "ledger:oldest_pending", "connected"},
		"PartitionsEnd": {"DO $$ DECLARE p text; BEGIN FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'inbox_event'::regclass ORDER BY inhrelid::regclass::text OFFSET 3 LOOP EXECUTE 'DROP TABLE ' || p; END LOOP; END $$",
			"postgres:partitions", "connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.MustExec(c.sql)
			got := h.get(detailedPath)
			require.Equal(t, 200, got.StatusCode)
			tree := got.json(t)
			require.Equal(t, "degraded", tree["status"])
			require.Equal(t, c.strapi, at(t, tree, "services", "strapi"))
			for name, checks := range tree["checks"].(map[string]any) {
				want := "pass"
				if name == c.check {
					want = "warn"
				}
				require.Equal(t, want, checks.([]any)[0].(map[string]any)["status"], name)
			}
			require.Equal(t, "degraded", h.get("/api/v1/health").json(t)["status"])
			require.Equal(t, 200, h.get("/readyz").StatusCode, "a webhook can still be taken")
		})
	}
}

const (
	deadLetter = "INSERT INTO entity_sync (uid, document_id, want_seq, events, state, dead_at) VALUES ('u', 'd', 1, 1, 'dead', now())"
	oldPending = "INSERT INTO entity_sync (uid, document_id, want_seq, events, state, pending_since) VALUES ('u', 'd', 1, 1, 'pending', now() - interval '301 seconds')"
)

func TestHealth_TokenRefused(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.raise(alerting.Alert{Rule: alerting.RuleStrapiTokenRefused, Level: level.Critical, Message: "refused"})
	tree := h.get(detailedPath).json(t)
	require.Equal(t, "degraded", tree["status"])
	require.Equal(t, "disconnected", at(t, tree, "services", "strapi"))
	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now()")
	tree = h.get(detailedPath).json(t)
	require.Equal(t, "healthy", tree["status"])
	require.Equal(t, "connected", at(t, tree, "services", "strapi"))
}

// Health is degraded as long as a channel fails, also when the alert about it is
// acknowledged or suppressed. Failures from before it worked again do not count.
func TestHealth_ChannelFailing(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.raise(alerting.Alert{Rule: "r", Level: level.Warning, Message: "waits"})
	h.MustExec(`INSERT INTO notification (alert_id, channel, reason, sequence, attempts, last_error, created_at)
		VALUES (1, 'webhook', 'first', 1, 3, 'no answer', now() - interval '2 hours')`)
	requireHealth := func(want, status, channels string) {
		t.Helper()
		tree := h.get(detailedPath).json(t)
		require.Equal(t, want, tree["status"])
		c := at(t, tree, "checks", "notifications:failing_channels").([]any)[0].(map[string]any)
		require.Equal(t, status, c["status"])
		require.Equal(t, channels, c["observedValue"])
	}
	requireHealth("healthy", "pass", "none")
	worker := alerting.NewReviewWorker(h.Pool, h.alerts)
	review := func() { t.Helper(); require.NoError(t, worker.Work(t.Context(), &river.Job[alerting.ReviewArgs]{})) }
	review()
	review()
	requireHealth("degraded", "warn", "webhook")
	for _, status := range []string{"acknowledged", "suppressed"} {
		h.MustExec("UPDATE alert SET status = '" + status + "' WHERE rule = 'notification_failing'")
		requireHealth("degraded", "warn", "webhook")
	}

	h.MustExec(`UPDATE notification SET status = 'failed', failed_at = now() - interval '1 minute', next_attempt_at = NULL`)
	h.MustExec(`INSERT INTO notification (alert_id, channel, reason, sequence, status, sent_at) VALUES (1, 'webhook', 'reminder', 2, 'sent', now())`)
	review()
	review()
	requireHealth("healthy", "pass", "none")
	require.Equal(t, json.Number("1"), at(t, h.get(detailedPath).json(t), "notifications", "failed_24h"))
}

// An open episode of error or critical means degraded, also one that somebody has
// silenced, and the answer says which and what to do.
func TestHealth_OpenEpisode(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.raise(alerting.Alert{Rule: alerting.RuleLostWebhooks, Level: level.Warning, Message: "88 lost"})
	require.Equal(t, "healthy", h.get("/api/v1/health").json(t)["status"], "a warning is listed, and no more")
	h.raise(alerting.Alert{Rule: alerting.RuleSignatureFailures, Subject: "wrong_secret", Level: level.Critical, Message: "all are refused"})
	for _, status := range []string{"firing", "acknowledged", "suppressed"} {
		h.MustExec("UPDATE alert SET status = $1", status)
		tree := h.get(detailedPath).json(t)
		require.Equal(t, "degraded", tree["status"], status)
		worst := tree["problems"].([]any)[0].(map[string]any)
		require.Equal(t, "signature_failures", worst["rule"])
		require.Equal(t, "all are refused", worst["message"])
		require.Contains(t, worst["first_step"], "STRAPI_WEBHOOK_SECRET")
		require.Equal(t, status, worst["alert_status"])
		require.Equal(t, "2", worst["alert_id"])
	}
	require.InDelta(t, 1, value(t, h.scrape(), "dealbox_health", "degraded"), 0)
	require.InDelta(t, 1, value(t, h.scrape(), "dealbox_alerts_open", "critical", "signature_failures"), 0)
	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now()")
	require.Equal(t, "healthy", h.get(detailedPath).json(t)["status"])
}

// A document that died in the first load has no event, and is counted all the same.
func TestHealth_DeadWithoutEvent(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, state, dead_at, pending_since) VALUES ('u', 'd', 1, 'dead', now(), now())")
	h.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, state, pending_since) VALUES ('u', 'e', 1, 'pending', now() - interval '301 seconds')")
	tree := h.get(detailedPath).json(t)
	require.Equal(t, "degraded", tree["status"])
	require.Equal(t, map[string]any{"pending": json.Number("1"), "dead": json.Number("1")}, at(t, tree, "ledger", "documents"))
	require.Equal(t, json.Number("0"), at(t, tree, "ledger", "dead"), "no event is dead")
	age, err := at(t, tree, "ledger", "oldest_pending_age_seconds").(json.Number).Float64()
	require.NoError(t, err)
	require.Greater(t, age, 300.0)
	require.InDelta(t, 1, value(t, h.scrape(), "dealbox_documents", "dead"), 0)
}

// What a fresh installation has to know makes it no worse than healthy.
func TestHealth_Notices(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) {
		c.Channels, c.WebhookURL = []string{}, "https://dealbox.example.com/api/v1/webhooks/strapi"
	})
	tree := h.get(detailedPath).json(t)
	require.Equal(t, "healthy", tree["status"])
	problems := tree["problems"].([]any)
	require.Len(t, problems, 2)
	require.Contains(t, problems[0].(map[string]any)["first_step"], "https://dealbox.example.com/api/v1/webhooks/strapi")
	require.Contains(t, problems[1].(map[string]any)["title"], "Nobody would be notified")
}

// While deliveries cannot be committed, readiness, health and metrics say so, although
// every read works.
func TestHealth_CommitsFail(t *testing.T) {
	t.Parallel()
	var failing error
	h := open(t, func(_ *httpapi.Config, s *httpapi.Stages) {
		s.Receive = func(context.Context, inbox.Delivery) (inbox.Receipt, error) { return inbox.Receipt{}, failing }
		s.Commits = health.NewCommits(func(context.Context) error { return failing })
	})
	require.Equal(t, 200, h.get("/readyz").StatusCode)
	failing = &pgconn.PgError{Code: "53100", Message: "could not extend file"}
	require.Equal(t, 503, h.do(h.delivery(dealEvent("entry.update", "a"))).StatusCode)
	h.awaitReady(503) // one is kept for a second
	requireError(t, h.get("/readyz"), 503, "disk_full")
	got := h.get(detailedPath)
	require.Equal(t, 503, got.StatusCode)
	require.Equal(t, "unhealthy", got.json(t)["status"])
	require.NotNil(t, at(t, got.json(t), "ledger", "received"), "what is known is shown")
	require.Contains(t, got.json(t)["problems"].([]any)[0].(map[string]any)["title"], "no disk space")
	require.InDelta(t, 0, value(t, h.scrape(), "dealbox_webhooks_committed"), 0)

	failing = nil
	h.awaitReady(200)
	require.Equal(t, 200, h.get(detailedPath).StatusCode)
}

// awaitReady waits until /readyz answers so.
func (h *env) awaitReady(status int) {
	h.T.Helper()
	require.Eventually(h.T, func() bool { return h.get("/readyz").StatusCode == status }, time.Minute, 20*time.Millisecond)
}

func TestHealth_NoPartition(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec("DO $$ BEGIN EXECUTE 'DROP TABLE inbox_event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'); END $$")
	got := h.get(detailedPath)
	require.Equal(t, 503, got.StatusCode)
	require.Equal(t, "unhealthy", got.json(t)["status"])
	require.Equal(t, "connected", at(t, got.json(t), "services", "database"))
	require.NotNil(t, at(t, got.json(t), "ledger", "received"), "what is known is shown")
	requireError(t, h.get("/readyz"), 503, "no_partition")
	require.Equal(t, 200, h.get("/api/v1/health").StatusCode)
}

// One part that cannot be read does not hide the others.
func TestHealth_PartThatCannotBeReadHidesNoOther(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec("ALTER TABLE notification RENAME TO notification_away")
	got := h.get(detailedPath)
	require.Equal(t, 200, got.StatusCode)
	tree := got.json(t)
	require.Equal(t, "degraded", tree["status"])
	require.Nil(t, at(t, tree, "notifications", "pending"))
	require.NotNil(t, at(t, tree, "queues", "sync", "available"))
	require.Equal(t, "closed", at(t, tree, "circuit_breaker", "state"))
	require.Contains(t, h.logLine(got.Header.Get("X-Request-Id"))["error"], "notification")
}

func TestHealth_DatabaseAway(t *testing.T) {
	t.Parallel()
	for name, pool := range map[string]func(*testing.T) *pgxpool.Pool{
		"Closed": func(t *testing.T) *pgxpool.Pool { t.Helper(); return dead(t) },
		"Silent": silent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, pool(t), withTokens, impatient)
			r := h.request(http.MethodGet, detailedPath, nil)
			r.Header.Set("Authorization", "Bearer "+readToken)
			got := h.do(r)
			require.Equal(t, 503, got.StatusCode)
			tree := got.json(t)
			require.Equal(t, "unhealthy", tree["status"])
			require.Equal(t, map[string]any{"strapi": nil, "database": "disconnected"}, tree["services"])
			require.Equal(t, map[string]any{"pending": nil, "dead": nil}, at(t, tree, "ledger", "documents"))
			delete(tree["ledger"].(map[string]any), "documents")
			for _, object := range []string{"ledger", "circuit_breaker", "notifications", "reconciliation", "forecast"} {
				for key, value := range tree[object].(map[string]any) {
					require.Nil(t, value, "%s.%s", object, key)
				}
			}
			require.Nil(t, at(t, tree, "alerts", "total"))
			require.Nil(t, at(t, tree, "queues", "sync", "running"))

			plain := h.get("/api/v1/health")
			require.Equal(t, 200, plain.StatusCode)
			require.Equal(t, "unhealthy", plain.json(t)["status"])
			requireError(t, h.get("/readyz"), 503, "database_unavailable")
			require.Equal(t, 200, h.get("/healthz").StatusCode)
		})
	}
}

// silent is a pool to a port that takes connections and never says a word.
func silent(t *testing.T) *pgxpool.Pool {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@"+listener.Addr().String()+"/none?sslmode=disable")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestHealth_PublicAnswersTellNoDetails(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	tree := h.get("/api/v1/health").json(t)
	require.Len(t, tree, 4)
	require.Equal(t, map[string]any{"status": "ready"}, h.get("/readyz").json(t))
	require.Equal(t, map[string]any{"status": "alive"}, h.get("/healthz").json(t))
}

// What strangers may ask without a token makes at most one probe a second.
func TestHealth_StrangersCostLittle(t *testing.T) {
	t.Parallel()
	h := open(t)
	start := time.Now()
	before := h.Pool.Stat().AcquireCount()
	for range 500 {
		require.Equal(t, 200, h.get("/api/v1/health").StatusCode)
		require.Equal(t, 200, h.get("/readyz").StatusCode)
	}
	probes := int64(time.Since(start)/time.Second) + 1
	require.LessOrEqual(t, h.Pool.Stat().AcquireCount()-before, 3*probes, "the overview, the readiness, and at times a commit")
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	var readiness health.Readiness
	h := open(t, func(_ *httpapi.Config, s *httpapi.Stages) { s.Readiness = &readiness })
	requireError(t, h.get("/readyz"), 503, "starting")
	readiness.Ready()
	require.Equal(t, 200, h.get("/readyz").StatusCode)
	readiness.Stopping()
	requireError(t, h.get("/readyz"), 503, "stopping")
	readiness.Ready()
	requireError(t, h.get("/readyz"), 503, "stopping")
	require.Equal(t, 200, h.get("/healthz").StatusCode)
}
