package notify_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/webhook"
	"dealbox/internal/pgtest"
	"dealbox/internal/retry"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fast is a backoff that tests can wait for.
var fast = retry.Policy{InitialDelay: 5 * time.Millisecond, MaxDelay: 20 * time.Millisecond}

// env has all that a notification passes: alerts, outbox, a working River client.
type env struct {
	pgtest.DB

	alerts *alerting.Alerts
	log    *pgtest.Log
}

// newEnv opens a database and works its notifications until the test ends.
func newEnv(t *testing.T, config notify.Config) *env {
	t.Helper()
	return newEnvOn(t, pgtest.Pool(t), config)
}

// newEnvOn is one more replica on the same database.
func newEnvOn(t *testing.T, pool *pgxpool.Pool, config notify.Config) *env {
	t.Helper()
	h := &env{DB: pgtest.DB{T: t, Pool: pool}, log: &pgtest.Log{}}
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(t, err)
	if config.Backoff == (retry.Policy{}) {
		config.Backoff = fast
	}
	if config.FirstNoticeDelay == 0 {
		config.FirstNoticeDelay = time.Nanosecond
	}
	outbox := notify.New(config, inserter)
	h.alerts = alerting.New(alerting.Config{}, outbox)

	workers := river.NewWorkers()
	river.AddWorker(workers, notify.NewSendWorker(h.Pool, outbox, h.alerts.RecordNotification, slog.New(slog.NewJSONHandler(h.log, nil))))
	client, err := jobs.NewWorker(h.Pool, nil, nil, jobs.Work{
		Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueNotify: {MaxWorkers: 4}, jobs.QueueMail: {MaxWorkers: 2}},
	})
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, client.StopAndCancel(ctx))
	})
	return h
}

// webhookChannel is a channel that posts to url.
func webhookChannel(t *testing.T, floor level.Level, c webhook.Config) notify.Channel {
	t.Helper()
	w, err := webhook.New(c)
	require.NoError(t, err)
	return notify.Channel{Name: "webhook", Floor: floor, Notify: w.Notify}
}

func (h *env) raise(a alerting.Alert) (id int64) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = h.alerts.Raise(ctx, tx, a)
		return err
	})
	return id
}

// resolve ends the episode of breakerOpened.
func (h *env) resolve(reason string) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		found, err := h.alerts.Resolve(ctx, tx, alerting.RuleBreakerOpened, "strapi", reason)
		require.True(h.T, found)
		return err
	})
}

// row is a notification as the table has it.
type row struct {
	ID        int64
	AlertID   int64
	Channel   string
	Receiver  string
	Reason    string
	Sequence  int
	Status    string
	Attempts  int
	LastError *string
}

func (h *env) rows() []row {
	h.T.Helper()
	found, err := h.Pool.Query(h.T.Context(), `SELECT id, alert_id, channel, receiver, reason, sequence, status, attempts, last_error
		FROM notification ORDER BY id`)
	require.NoError(h.T, err)
	all, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	require.NoError(h.T, err)
	return all
}

// finished waits until n notifications are there and none is pending.
func (h *env) finished(n int) []row {
	h.T.Helper()
	h.MustEventually(`SELECT count(*) = $1 AND count(*) FILTER (WHERE status = 'pending') = 0 FROM notification`, n)
	return h.rows()
}

// request is what a sink got.
type request struct {
	header http.Header
	body   []byte
}

// sink is a receiver of webhooks. It answers with the statuses it was given,
// then with 204.
type sink struct {
	url string

	mu       sync.Mutex
	answers  []func(http.ResponseWriter)
	requests []request
}

func newSink(t *testing.T, answers ...func(http.ResponseWriter)) *sink {
	t.Helper()
	s := &sink{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests = append(s.requests, request{header: r.Header.Clone(), body: body})
	answer := status(http.StatusNoContent)
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	answer(w)
}

func (s *sink) got() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.requests...)
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func redirect(code int, location string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}

// event is the body of webhook.Standard as a receiver reads it.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Alert struct {
			ID          string         `json:"id"`
			Level       string         `json:"level"`
			Message     string         `json:"message"`
			Details     map[string]any `json:"details"`
			Rule        string         `json:"rule"`
			Subject     string         `json:"subject"`
			Status      string         `json:"status"`
			Occurrences int            `json:"occurrences"`
			ResolvedAt  *time.Time     `json:"resolved_at"`
		} `json:"alert"`
		Reason   string  `json:"reason"`
		Sequence int     `json:"sequence"`
		URL      *string `json:"url"`
		Runbook  *string `json:"runbook"`
	} `json:"data"`
}

func (r request) event(t *testing.T) event {
	t.Helper()
	var e event
	require.NoError(t, json.Unmarshal(r.body, &e), string(r.body))
	return e
}

// breakerOpened is an alert as the service raises it.
func breakerOpened(level level.Level) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level,
		Message: "calls to Strapi fail", Details: map[string]any{"failures": 5},
	}
}
