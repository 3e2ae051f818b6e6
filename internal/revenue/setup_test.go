package revenue

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newForecast has the currency THB.
func newForecast(t *testing.T, pool *pgxpool.Pool, minInterval time.Duration) *Forecast {
	t.Helper()
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(t, err)
	return New(Config{Currency: "THB", MinInterval: minInterval}, inserter)
}

// start runs a replica until the test ends.
func start(t *testing.T, pool *pgxpool.Pool, f *Forecast) *jobs.Client {
	t.Helper()
	workers := river.NewWorkers()
	river.AddWorker(workers, NewRecomputeWorker(f, pool, slog.New(slog.DiscardHandler)))
	client, err := jobs.NewWorker(pool, nil, nil, jobs.Work{
		Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueForecast: {MaxWorkers: 1}},
	})
	require.NoError(t, err)
	require.NoError(t, client.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { require.NoError(t, client.StopAndCancel(context.Background())) })
	return client
}

// waitUntilCurrent waits until the forecast has every mark and no job waits.
func waitUntilCurrent(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var open bool
		get(t, pool, &open, `SELECT (SELECT want > done FROM forecast_scope)
			OR EXISTS (SELECT FROM river.river_job WHERE state <> 'completed')`)
		return !open
	}, time.Minute, 5*time.Millisecond, "the forecast does not catch up")
}

// waitBlocked waits until so many sessions wait for a lock on the table.
func waitBlocked(t *testing.T, pool *pgxpool.Pool, table string, sessions int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		// The tables of other tests' databases have the same number: all are made from one template.
		get(t, pool, &waiting, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, table)
		return waiting == sessions
	}, time.Minute, 5*time.Millisecond, "the worker does not read the table %s", table)
}

func mark(t *testing.T, pool *pgxpool.Pool, f *Forecast) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) error { return f.MarkDirty(t.Context(), tx) })
}

func insertJob(t *testing.T, pool *pgxpool.Pool, f *Forecast) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) error { return f.insertJob(t.Context(), tx) })
}

func inTx(t *testing.T, pool *pgxpool.Pool, write func(pgx.Tx) error) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, write))
}

func begin(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

func exec(t *testing.T, db dbsqlc.DBTX, sql string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func get(t *testing.T, db dbsqlc.DBTX, to any, sql string, args ...any) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), sql, args...).Scan(to))
}

func scope(t *testing.T, db dbsqlc.DBTX) dbsqlc.ForecastScopeRow {
	t.Helper()
	s, err := dbsqlc.New().ForecastScope(t.Context(), db, scopeBase)
	require.NoError(t, err)
	return s
}

func jobCount(t *testing.T, db dbsqlc.DBTX) (count int) {
	t.Helper()
	get(t, db, &count, "SELECT count(*) FROM river.river_job WHERE kind = 'forecast_recompute' AND queue = 'forecast'")
	return count
}

func forecastCount(t *testing.T, db dbsqlc.DBTX) (count int) {
	t.Helper()
	get(t, db, &count, "SELECT count(*) FROM forecast")
	return count
}

// insertDeal makes a live, active deal of stage closed-won in THB and January 2026.
func insertDeal(t *testing.T, db dbsqlc.DBTX, id, value string) {
	t.Helper()
	exec(t, db, `INSERT INTO deal (uid, document_id, deal_value, currency, status, stage, expected_close_date, published_at)
		VALUES ('api::pipeline-deal.pipeline-deal', $1, $2::text::numeric, 'THB', 'active', 'closed-won', '2026-01-15', now())`, id, value)
}

// fillOddMirror makes rows of every sort: locales, drafts, tombstones, nulls.
func fillOddMirror(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	exec(t, pool, `
		INSERT INTO deal (uid, document_id, locale, deal_value, currency, status, stage, probability, confidence_override,
			expected_close_date, recognition_start_month, recognition_end_month, published_at, deleted_at)
		SELECT 'deal' || i % 2, 'd' || i / 3, (ARRAY['', 'de', 'th'])[1 + i % 3],
			CASE WHEN i % 11 > 0 THEN (i::bigint * 1234567 % 99999999)::numeric / 10 ^ (i % 5) * CASE WHEN i % 13 = 0 THEN -1 ELSE 1 END END,
			(ARRAY['THB', NULL, 'usd', ' eur ', ''])[1 + i % 5], (ARRAY['active', 'active', 'active', 'lost', NULL])[1 + i / 7 % 5],
			(ARRAY['prospecting', 'Qualification', 'proposal', 'negotiation', 'closed-won', 'closed-lost', 'demo', NULL])[1 + i / 3 % 8],
			CASE WHEN i % 3 > 0 THEN i % 130 - 10 END, CASE WHEN i % 8 = 0 THEN (i % 130 - 10) + 0.5 END,
			CASE WHEN i % 6 > 0 THEN date '2026-01-31' + i % 900 END, CASE WHEN i % 4 > 0 THEN date '2026-01-31' + i % 900 END,
			CASE WHEN i % 5 > 0 THEN date '2026-01-31' + i % 950 END,
			CASE WHEN i % 10 > 0 THEN now() END, CASE WHEN i % 17 = 0 THEN now() END
		FROM generate_series(1, 2000) i`)
	exec(t, pool, `
		INSERT INTO billing (uid, document_id, locale, amount, currency, invoice_date, collected_date, recognition_month, published_at, deleted_at)
		SELECT 'billing', 'b' || i / 3, (ARRAY['', 'de', 'th'])[1 + i % 3], CASE WHEN i % 11 > 0 THEN (i::bigint * 7654321 % 9999999)::numeric / 10 ^ (i % 5) END,
			(ARRAY['THB', NULL, 'usd', 'jpy'])[1 + i % 4], CASE WHEN i % 3 > 0 THEN date '2026-01-31' + i % 900 END,
			CASE WHEN i % 5 > 0 THEN date '2026-01-31' + i % 800 END, CASE WHEN i % 4 > 0 THEN date '2026-01-31' + i % 700 END,
			CASE WHEN i % 10 > 0 THEN now() END, CASE WHEN i % 17 = 0 THEN now() END
		FROM generate_series(1, 1000) i`)
}

// readMirror reads every row, also those that cannot count, in no order and by
// another way than the worker does.
func readMirror(t *testing.T, pool *pgxpool.Pool) portfolio {
	t.Helper()
	in := portfolio{Currency: "THB"}
	const document = "uid, document_id, locale, published_at IS NOT NULL, deleted_at IS NOT NULL, coalesce(currency, '')"
	text := func(columns ...string) (sql string) {
		for _, c := range columns {
			sql += ", coalesce(" + c + "::text, '')"
		}
		return sql
	}
	texts := make([]string, 6)

	d := Deal{}
	sql := "SELECT " + document + text("status", "stage", "deal_value", "probability", "confidence_override",
		"recognition_start_month", "recognition_end_month", "expected_close_date") + " FROM deal ORDER BY random()"
	require.NoError(t, eachRow(t.Context(), pool, sql, []any{
		&d.UID, &d.DocumentID, &d.Locale, &d.Published, &d.Deleted, &d.Currency, &d.Status, &d.Stage,
		&texts[0], &texts[1], &texts[2], &texts[3], &texts[4], &texts[5],
	}, func() bool {
		d.Value, d.Probability, d.Override = storedNumber(texts[0]), storedNumber(texts[1]), storedNumber(texts[2])
		d.Start, d.End, d.Close = storedMonth(texts[3]), storedMonth(texts[4]), storedMonth(texts[5])
		in.Deals = append(in.Deals, d)
		return true
	}))

	b := Billing{}
	sql = "SELECT " + document + text("amount", "recognition_month", "invoice_date", "collected_date") + " FROM billing ORDER BY random()"
	require.NoError(t, eachRow(t.Context(), pool, sql, []any{
		&b.UID, &b.DocumentID, &b.Locale, &b.Published, &b.Deleted, &b.Currency, &texts[0], &texts[1], &texts[2], &texts[3],
	}, func() bool {
		b.Amount = storedNumber(texts[0])
		b.Recognition, b.Invoice, b.Collected = storedMonth(texts[1]), storedMonth(texts[2]), storedMonth(texts[3])
		in.Billings = append(in.Billings, b)
		return true
	}))
	return in
}

func storedNumber(text string) decimal.NullDecimal {
	switch text {
	case "":
		return null
	case "Infinity":
		return num("1e24") // as good as infinite
	}
	// decimal reads no text with more than 10,000 digits after the point.
	if point := strings.Index(text, "."); point >= 0 {
		text = text[:min(len(text), point+100)]
	}
	return num(text)
}

func storedMonth(text string) Month {
	if strings.HasSuffix(text, "infinity") {
		return 0
	}
	return month(text)
}

// storedSnapshot reads the latest snapshot from its tables.
func storedSnapshot(t *testing.T, pool *pgxpool.Pool) (s Snapshot) {
	t.Helper()
	const latest = "WHERE forecast_id = (SELECT max(id) FROM forecast)"
	get(t, pool, &s.Deals, "SELECT deals FROM forecast ORDER BY id DESC LIMIT 1")

	c, place := Currency{}, map[string]int{}
	require.NoError(t, eachRow(t.Context(), pool, `SELECT currency, deals, unscheduled FROM forecast_currency `+latest+` ORDER BY currency COLLATE "C"`,
		[]any{&c.Code, &c.Deals, &c.Unscheduled}, func() bool {
			place[c.Code] = len(s.Currencies)
			s.Currencies = append(s.Currencies, c)
			return true
		}))

	var code string
	var a Amounts
	require.NoError(t, eachRow(t.Context(), pool, `SELECT currency, month, confirmed, tentative, tier_high, tier_medium, tier_low, billed, collected
		FROM forecast_month `+latest+` ORDER BY month`, []any{
		&code, (*monthOfDate)(&a.Month), &a.Confirmed, &a.Tentative, &a.Tiers.High, &a.Tiers.Medium, &a.Tiers.Low, &a.Billed, &a.Collected,
	}, func() bool {
		of := &s.Currencies[place[code]]
		of.Months = append(of.Months, a)
		return true
	}))
	return s
}

// portfolio is an Input in memory, in any order.
type portfolio struct {
	Currency, Locale string
	Deals            []Deal
	Billings         []Billing
}

// compute is Compute of rows in memory.
func (p portfolio) compute() Snapshot {
	result, err := Compute(Input{
		Currency: p.Currency, Locale: p.Locale,
		Deals:    inOrder(p.Deals, func(d Deal) Document { return d.Document }),
		Billings: inOrder(p.Billings, func(b Billing) Document { return b.Document }),
	})
	if err != nil {
		panic(err) // a slice yields no error
	}
	return result
}

func inOrder[R any](rows []R, key func(R) Document) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		for _, row := range slices.SortedStableFunc(slices.Values(rows), func(a, b R) int { return key(a).compare(key(b)) }) {
			if !yield(row, nil) {
				return
			}
		}
	}
}
