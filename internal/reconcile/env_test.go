package reconcile

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/retry"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// contentTypes fit fakestrapi.PipelineTypes(drafts, true).
var contentTypes = []strapi.ContentType{
	{Kind: strapi.Deal, UID: fakestrapi.DealUID, Plural: "pipeline-deals", Fields: map[string]string{"status": "deal_status", "billings": "billings"}},
	{Kind: strapi.Billing, UID: fakestrapi.BillingUID, Plural: "billings", Fields: map[string]string{"status": "billing_status", "deal": "deal"}},
}

// env is reconciliation with everything around it: Postgres, the mirror, a Strapi
// over HTTP, jobs.
type env struct {
	t      *testing.T
	pool   *pgxpool.Pool
	fake   *fakestrapi.Strapi
	queue  *Queue
	mirror *mirror.Queue
	source *mirror.Source
	sync   *mirror.SyncWorker
	alerts *alerting.Alerts

	forecast *revenue.Forecast
	breaker  *circuit.Breaker

	between *between
}

type option func(*fakestrapi.Config, *retry.Policy, *circuit.Config)

func drafts(c *fakestrapi.Config, _ *retry.Policy, _ *circuit.Config) {
	c.Types = fakestrapi.PipelineTypes(true, true)
}

func newEnv(t *testing.T, options ...option) *env {
	t.Helper()
	h := &env{t: t, pool: pgtest.Pool(t), between: &between{}}
	strapiConfig := fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, true), Token: "read-only-token"}
	config := mirror.Config{
		Types: contentTypes, MaxAttempts: 3, Logger: slog.New(slog.DiscardHandler),
		Random:        func() float64 { return 0.999 }, // waits are long: none is over by itself
		RecordTimeout: time.Minute,                     // so that a busy machine does not end what a test wants to see written
	}
	breakerConfig := circuit.Config{FailureThreshold: 1000, RecoveryTimeout: time.Hour, Logger: config.Logger}
	policy := retry.Policy{MaxRetries: 1, InitialDelay: time.Millisecond, MaxDelay: time.Millisecond, Base: 2}
	for _, o := range options {
		o(&strapiConfig, &policy, &breakerConfig)
	}

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
	inserter, err := jobs.NewInserter(h.pool, nil, nil)
	require.NoError(t, err)
	client, err := strapi.New(strapi.Config{BaseURL: server.URL, Token: "read-only-token", Timeout: time.Minute, Transport: h.between})
	require.NoError(t, err)
	h.queue, h.mirror = NewQueue(inserter), mirror.NewQueue(inserter)
	h.breaker = circuit.New(h.pool, breakerConfig)
	h.source = mirror.NewSource(h.pool, client, h.breaker, policy)
	h.forecast = revenue.New(revenue.Config{Currency: "THB"}, inserter)
	h.alerts = alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	h.sync = mirror.NewSyncWorker(h.pool, h.mirror, h.source, h.forecast, h.alerts, config)
	return h
}

// enqueue requests a refresh of a document and returns its job.
func (h *env) enqueue(key mirror.Key) mirror.SyncArgs {
	h.t.Helper()
	var seqs map[mirror.Key]int64
	require.NoError(h.t, pgx.BeginFunc(h.t.Context(), h.pool, func(tx pgx.Tx) (err error) {
		seqs, err = h.mirror.Enqueue(h.t.Context(), tx, []mirror.Refresh{{Key: key}})
		return err
	}))
	return mirror.SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seqs[key]}
}

// work runs a job as River would, once.
func (h *env) work(args mirror.SyncArgs) error {
	return h.sync.Work(h.t.Context(), &river.Job[mirror.SyncArgs]{Args: args})
}

// refresh enqueues and works.
func (h *env) refresh(key mirror.Key) error {
	h.t.Helper()
	return h.work(h.enqueue(key))
}

func (h *env) entity(key mirror.Key) (e struct {
	Want, Done, Version int64
	State               string
	Failures            int
	LastError           *string
	Next, HeldBack      *time.Time
}) {
	h.t.Helper()
	require.NoError(h.t, h.pool.QueryRow(h.t.Context(),
		`SELECT want_seq, done_seq, version, state, failures, last_error, next_attempt_at, held_back_since FROM entity_sync
		 WHERE uid = $1 AND document_id = $2 AND locale = $3`, key.UID, key.DocumentID, key.Locale).
		Scan(&e.Want, &e.Done, &e.Version, &e.State, &e.Failures, &e.LastError, &e.Next, &e.HeldBack))
	return e
}

// one reads one value.
func one[T any](h *env, sql string, args ...any) (v T) {
	h.t.Helper()
	require.NoError(h.t, h.pool.QueryRow(h.t.Context(), sql, args...).Scan(&v))
	return v
}

func (h *env) deal(values fakestrapi.Values) mirror.Key {
	h.t.Helper()
	entry, err := h.fake.Create(fakestrapi.DealUID, values)
	require.NoError(h.t, err)
	return mirror.Key{UID: fakestrapi.DealUID, DocumentID: entry.DocumentID}
}

func (h *env) billing(deal mirror.Key) mirror.Key {
	h.t.Helper()
	entry, err := h.fake.Create(fakestrapi.BillingUID, fakestrapi.Values{"amount": json.Number("100.10"), "deal": deal.DocumentID})
	require.NoError(h.t, err)
	return mirror.Key{UID: fakestrapi.BillingUID, DocumentID: entry.DocumentID}
}

func (h *env) openAlerts() map[string]string {
	h.t.Helper()
	rows, err := h.pool.Query(h.t.Context(), "SELECT rule, level FROM alert WHERE resolved_at IS NULL")
	require.NoError(h.t, err)
	open := map[string]string{}
	for rows.Next() {
		var rule, level string
		require.NoError(h.t, rows.Scan(&rule, &level))
		open[rule] = level
	}
	require.NoError(h.t, rows.Err())
	return open
}

// due lets the backoff of a document pass.
func (h *env) due(key mirror.Key) {
	_, err := h.pool.Exec(h.t.Context(), "UPDATE entity_sync SET next_attempt_at = NULL WHERE document_id = $1", key.DocumentID)
	require.NoError(h.t, err)
}

// during runs do once: after Strapi has read its state for the next request, and
// before Dealbox gets the answer.
func (h *env) during(do func()) { h.between.do = do }

type between struct{ do func() }

func (b *between) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return res, err
}
