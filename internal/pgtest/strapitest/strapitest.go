// Package strapitest gives the tests of the stages that read Strapi a database beside a
// simulated Strapi, with the parts from which a worker is made. It imports none of these
// stages, so that their internal tests can use it.
package strapitest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/retry"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
)

const token = "read-only-token"

// Types fit fakestrapi.PipelineTypes(drafts, true).
var Types = []strapi.ContentType{
	{Kind: strapi.Deal, UID: fakestrapi.DealUID, Plural: "pipeline-deals", Fields: map[string]string{"status": "deal_status", "billings": "billings"}},
	{Kind: strapi.Billing, UID: fakestrapi.BillingUID, Plural: "billings", Fields: map[string]string{"status": "billing_status", "deal": "deal"}},
}

// Env is Postgres, a Strapi over HTTP and what a worker needs to read from one into the
// other. Nothing works its jobs.
type Env struct {
	pgtest.DB

	Fake     *fakestrapi.Strapi
	Client   *strapi.Client
	Policy   retry.Policy
	Breaker  *circuit.Breaker
	Inserter *jobs.Client
	Alerts   *alerting.Alerts
	Forecast *revenue.Forecast

	between *between
}

// Config of an Env, for an Option to change.
type Config struct {
	Strapi  fakestrapi.Config
	Policy  retry.Policy
	Breaker circuit.Config
}

// Option changes the defaults: types with all fields and no drafts, one retry after a
// millisecond, and a breaker that a thousand failures open.
type Option func(*Config)

// Drafts gives the types drafts.
func Drafts(c *Config) { c.Strapi.Types = fakestrapi.PipelineTypes(true, true) }

// Localized gives deals and billings locales; all attributes but owner and
// currency have a value of their own in each. What a real Strapi does with them is
// in internal/realstrapi; the fake shows the same.
func Localized(withDrafts bool) Option {
	return func(c *Config) {
		c.Strapi.Types = fakestrapi.PipelineTypes(withDrafts, true)
		for i := range c.Strapi.Types {
			c.Strapi.Types[i].Localized = true
			c.Strapi.Types[i].Shared = []string{"currency"}
		}
		c.Strapi.Types[0].Shared = append(c.Strapi.Types[0].Shared, "owner")
	}
}

// New returns an Env that ends with the test.
func New(t testing.TB, options ...Option) *Env {
	t.Helper()
	config := Config{
		Strapi:  fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, true), Token: token},
		Policy:  retry.Policy{MaxRetries: 1, InitialDelay: time.Millisecond, MaxDelay: time.Millisecond, Base: 2},
		Breaker: circuit.Config{FailureThreshold: 1000, RecoveryTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler)},
	}
	for _, o := range options {
		o(&config)
	}
	h := &Env{DB: pgtest.Open(t), Policy: config.Policy, between: &between{}}
	h.Client = h.startStrapi(config.Strapi)
	h.Breaker = circuit.New(h.Pool, config.Breaker)
	var err error
	h.Inserter, err = jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(t, err)
	h.Alerts = alerting.New(alerting.Config{StrapiAdminURL: "https://cms.example/admin"}, notify.New(notify.Config{}, h.Inserter))
	h.Forecast = revenue.New(revenue.Config{Currency: "THB"}, h.Inserter)
	return h
}

func (h *Env) startStrapi(config fakestrapi.Config) *strapi.Client {
	h.T.Helper()
	var err error
	h.Fake, err = fakestrapi.New(config)
	require.NoError(h.T, err)
	server, err := h.Fake.Listen("127.0.0.1:0")
	require.NoError(h.T, err)
	h.T.Cleanup(func() {
		h.Fake.Faults.Clear()
		_ = server.Close(context.Background())
		_ = h.Fake.Close()
	})
	client, err := strapi.New(strapi.Config{BaseURL: server.URL, Token: token, Timeout: time.Minute, Transport: h.between})
	require.NoError(h.T, err)
	return client
}

// Key names a document. A mirror.Key is assignable to it, and it to a mirror.Key.
type Key = struct{ UID, DocumentID, Locale string }

// Deal makes a deal in Strapi.
func (h *Env) Deal(values fakestrapi.Values) Key {
	h.T.Helper()
	entry, err := h.Fake.Create(fakestrapi.DealUID, values)
	require.NoError(h.T, err)
	return Key{UID: fakestrapi.DealUID, DocumentID: entry.DocumentID}
}

// Billing makes a billing of a deal in Strapi.
func (h *Env) Billing(deal Key) Key {
	h.T.Helper()
	entry, err := h.Fake.Create(fakestrapi.BillingUID, fakestrapi.Values{"amount": json.Number("100.10"), "deal": deal.DocumentID})
	require.NoError(h.T, err)
	return Key{UID: fakestrapi.BillingUID, DocumentID: entry.DocumentID}
}

// Translate makes or changes a document in a locale.
func (h *Env) Translate(key Key, locale string, values fakestrapi.Values) Key {
	h.T.Helper()
	_, err := h.Fake.In(locale).Update(key.UID, key.DocumentID, values)
	require.NoError(h.T, err)
	return Key{key.UID, key.DocumentID, locale}
}

// During runs do once: after Strapi has read its state for the next request, and
// before Dealbox gets the answer.
func (h *Env) During(do func()) { h.between.do = do }

type between struct{ do func() }

func (b *between) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return res, err
}

// Entity is the entity_sync row of a document.
type Entity struct {
	Want, Done, Version int64
	State               string
	Failures            int
	LastError           *string
	Next, HeldBack      *time.Time
}

// Entity reads the entity_sync row of a document.
func (h *Env) Entity(key Key) (e Entity) {
	h.T.Helper()
	require.NoError(h.T, h.Pool.QueryRow(h.T.Context(),
		`SELECT want_seq, done_seq, version, state, failures, last_error, next_attempt_at, held_back_since FROM entity_sync
		 WHERE uid = $1 AND document_id = $2 AND locale = $3`, key.UID, key.DocumentID, key.Locale).
		Scan(&e.Want, &e.Done, &e.Version, &e.State, &e.Failures, &e.LastError, &e.Next, &e.HeldBack))
	return e
}

// EndBackoff makes a document due.
func (h *Env) EndBackoff(key Key) {
	h.T.Helper()
	h.MustExec("UPDATE entity_sync SET next_attempt_at = NULL WHERE document_id = $1", key.DocumentID)
}

// Drain works all refreshes that are due, as River would. Documents that the guard
// holds back stay.
func (h *Env) Drain(work func(key Key, seq int64)) {
	h.T.Helper()
	type refresh struct {
		Key Key
		Seq int64
	}
	for range 10 {
		rows, err := h.Pool.Query(h.T.Context(), `SELECT uid, document_id, locale, want_seq FROM entity_sync
			WHERE done_seq < want_seq AND state = 'pending' AND (next_attempt_at IS NULL OR next_attempt_at <= now())`)
		require.NoError(h.T, err)
		due, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (d refresh, err error) {
			err = r.Scan(&d.Key.UID, &d.Key.DocumentID, &d.Key.Locale, &d.Seq)
			return d, err
		})
		require.NoError(h.T, err)
		if len(due) == 0 {
			return
		}
		for _, d := range due {
			work(d.Key, d.Seq)
		}
	}
}

// OpenAlerts returns the levels of the open alerts by their rules.
func (h *Env) OpenAlerts() map[string]string {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT rule, level FROM alert WHERE resolved_at IS NULL")
	require.NoError(h.T, err)
	open := map[string]string{}
	for rows.Next() {
		var rule, level string
		require.NoError(h.T, rows.Scan(&rule, &level))
		open[rule] = level
	}
	require.NoError(h.T, rows.Err())
	return open
}

// LiveDeals returns how many deals the mirror has.
func (h *Env) LiveDeals() int {
	h.T.Helper()
	return pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE deleted_at IS NULL")
}
