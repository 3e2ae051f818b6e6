package revenue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/pgtest"
)

// These tests run the real worker in real River clients: a stage is one piece.

func TestRecompute_ResultIsComputeFromNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	fillOddMirror(t, pool)
	start(t, pool, f)

	mark(t, pool, f)
	waitUntilCurrent(t, pool)

	want := readMirror(t, pool).compute()
	require.Greater(t, len(want.Currencies), 2, "the mirror is a rich one")
	require.Equal(t, flat(want), flat(storedSnapshot(t, pool)))
	require.Equal(t, want.Digest(), storedSnapshot(t, pool).Digest(), "the digest is of what is stored")
	var digest []byte
	get(t, pool, &digest, "SELECT digest FROM forecast")
	require.Equal(t, want.Digest(), digest)
}

func TestRecompute_MarksDuringTheComputation(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "first", "100")
	mark(t, pool, f)

	// The writer holds the table, so that the worker stops after it has read what
	// is wanted and before it can read the second deal.
	tx := begin(t, pool)
	exec(t, tx, "LOCK TABLE deal IN ACCESS EXCLUSIVE MODE")
	start(t, pool, f)
	waitBlocked(t, pool, "deal", 1)
	insertDeal(t, tx, "second", "100")
	for range 5 {
		require.NoError(t, f.MarkDirty(t.Context(), tx))
	}
	require.Equal(t, 1, jobCount(t, pool), "no second job while the first one is at it")
	require.NoError(t, tx.Commit(t.Context()))

	waitUntilCurrent(t, pool)
	require.Equal(t, int64(2), storedSnapshot(t, pool).Deals)
	require.Equal(t, int64(6), scope(t, pool).Done)
	require.Equal(t, 2, jobCount(t, pool), "all marks during the computation lead to one more run")
}

func TestRecompute_DealsAndBillingsOfOneMoment(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "first", "100")
	mark(t, pool, f)

	// The worker has read the deals and waits for the billings.
	tx := begin(t, pool)
	exec(t, tx, "LOCK TABLE billing IN ACCESS EXCLUSIVE MODE")
	start(t, pool, f)
	waitBlocked(t, pool, "billing", 1)
	insertDeal(t, tx, "second", "100")
	exec(t, tx, `INSERT INTO billing (uid, document_id, amount, invoice_date, published_at) VALUES ('b', 'b', 100, '2026-01-01', now())`)
	require.NoError(t, f.MarkDirty(t.Context(), tx))
	require.NoError(t, tx.Commit(t.Context()))
	waitUntilCurrent(t, pool)

	var seen []string
	get(t, pool, &seen, `SELECT array_agg(f.deals || ' deals, billed ' || m.billed ORDER BY f.id) FROM forecast f JOIN forecast_month m ON m.forecast_id = f.id`)
	require.Equal(t, []string{"1 deals, billed 0.00", "2 deals, billed 100.00"}, seen)
}

func TestRecompute_TwoReplicasAtOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "a", "100")
	mark(t, pool, f)
	insertJob(t, pool, f) // as River's rescuer does with a job whose worker is alive

	tx := begin(t, pool)
	exec(t, tx, "LOCK TABLE deal IN ACCESS EXCLUSIVE MODE")
	start(t, pool, f)
	start(t, pool, f)
	waitBlocked(t, pool, "deal", 2)
	require.NoError(t, tx.Rollback(t.Context()))

	waitUntilCurrent(t, pool)
	require.Equal(t, 1, forecastCount(t, pool), "the compare-and-set lets one of them store")
	require.Equal(t, int64(1), scope(t, pool).Done)
	require.Equal(t, 2, jobCount(t, pool))
}

func TestRecompute_LateReplicaDoesNotGoBack(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	mark(t, pool, f)
	seen := scope(t, pool)
	old, err := f.computeMirror(t.Context(), pool)
	require.NoError(t, err)

	insertDeal(t, pool, "a", "100")
	mark(t, pool, f)
	start(t, pool, f)
	waitUntilCurrent(t, pool)

	inTx(t, pool, func(tx pgx.Tx) error { return f.record(t.Context(), tx, seen, old) })
	require.Equal(t, int64(2), scope(t, pool).Done)
	require.Equal(t, int64(1), storedSnapshot(t, pool).Deals)
	require.Equal(t, 1, jobCount(t, pool))
}

func TestRecompute_CrashBeforeCommit(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "a", "100")
	mark(t, pool, f)

	seen := scope(t, pool)
	s, err := f.computeMirror(t.Context(), pool)
	require.NoError(t, err)
	tx := begin(t, pool)
	require.NoError(t, f.record(t.Context(), tx, seen, s))
	require.NoError(t, tx.Rollback(t.Context()))
	require.Zero(t, forecastCount(t, pool))
	require.Zero(t, scope(t, pool).Done)

	start(t, pool, f)
	waitUntilCurrent(t, pool)
	require.Equal(t, 1, forecastCount(t, pool))
	require.Equal(t, int64(1), storedSnapshot(t, pool).Deals)
}

func TestRecompute_NothingToDo(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	start(t, pool, f)
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	before := scope(t, pool)

	exec(t, begin(t, pool), "LOCK TABLE deal IN ACCESS EXCLUSIVE MODE")
	insertJob(t, pool, f)
	insertJob(t, pool, f)
	waitUntilCurrent(t, pool) // a job with nothing to do completes, and does not even read deals
	require.Equal(t, before.ComputedAt, scope(t, pool).ComputedAt)
	require.Equal(t, 3, jobCount(t, pool))
	require.Equal(t, 1, forecastCount(t, pool))
}

func TestRecompute_UnchangedDigest(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "a", "100")
	start(t, pool, f)
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	first := scope(t, pool)

	exec(t, pool, "UPDATE deal SET name = 'another name'")
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	require.Equal(t, 1, forecastCount(t, pool), "the same content makes no row")
	require.True(t, scope(t, pool).ComputedAt.After(*first.ComputedAt), "but it was computed again")
	require.Nil(t, scope(t, pool).DirtySince)

	exec(t, pool, "UPDATE deal SET deal_value = 200")
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	exec(t, pool, "UPDATE deal SET deal_value = 100")
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	require.Equal(t, 3, forecastCount(t, pool), "back to an earlier content is a change from the latest")
}

func TestRecompute_AtMostOnceAnInterval(t *testing.T) {
	t.Parallel()
	const interval = 150 * time.Millisecond
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, interval)
	insertDeal(t, pool, "a", "1")
	start(t, pool, f)
	start(t, pool, f)
	// Each mark comes as soon as the last one is served: as fast as it can be.
	for range 5 {
		exec(t, pool, "UPDATE deal SET deal_value = deal_value + 1")
		mark(t, pool, f)
		waitUntilCurrent(t, pool)
	}
	var closest time.Duration
	get(t, pool, &closest, "SELECT min(gap) FROM (SELECT computed_at - lag(computed_at) OVER (ORDER BY id) AS gap FROM forecast) g")
	require.Equal(t, 5, forecastCount(t, pool))
	require.GreaterOrEqual(t, closest, interval)
}

func TestRecompute_WritersAndTwoReplicas(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	start(t, pool, f)
	start(t, pool, f)

	errs := make(chan error)
	for writer := range 3 {
		go func() { errs <- writeDeals(context.WithoutCancel(t.Context()), pool, f, string(rune('a'+writer))) }()
	}
	for range 3 {
		require.NoError(t, <-errs)
	}
	waitUntilCurrent(t, pool)
	require.Equal(t, int64(90), scope(t, pool).Done)
	require.Equal(t, flat(readMirror(t, pool).compute()), flat(storedSnapshot(t, pool)))
}

// writeDeals changes five deals of its own 30 times, as syncs do.
func writeDeals(ctx context.Context, pool *pgxpool.Pool, f *Forecast, prefix string) error {
	for i := range 30 {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO deal (uid, document_id, deal_value, status, published_at) VALUES ('d', $1, $2, 'active', now())
				ON CONFLICT (uid, document_id, locale) DO UPDATE SET deal_value = excluded.deal_value`, fmt.Sprint(prefix, i%5), i)
			if err != nil {
				return err
			}
			return f.MarkDirty(ctx, tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRecompute_PoisonIsStored(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	insertDeal(t, pool, "good", "100")
	for id, assignment := range map[string]string{
		"currency":    "currency = repeat('€', 3000)",
		"large":       "deal_value = '1e131071'",
		"larger":      "deal_value = '-9e131071'",
		"infinite":    "deal_value = 'Infinity'",
		"probability": "probability = '1e131071', deal_value = 0.01",
		"digits":      "deal_value = ('0.' || repeat('3', 16000))::numeric",
		"forever":     "recognition_start_month = '-infinity', recognition_end_month = 'infinity'",
		"ages":        "recognition_start_month = '0001-01-01', recognition_end_month = '9999-12-31'",
	} {
		insertDeal(t, pool, id, "1")
		exec(t, pool, "UPDATE deal SET "+assignment+" WHERE document_id = $1", id)
	}
	start(t, pool, f)
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	require.Equal(t, int64(9), storedSnapshot(t, pool).Deals)
	require.Equal(t, flat(readMirror(t, pool).compute()), flat(storedSnapshot(t, pool)))
	require.Equal(t, int64(3), readMirror(t, pool).compute().Impossible)
}

func TestRecompute_StopWhileItWaits(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Hour)
	client := start(t, pool, f)
	mark(t, pool, f)
	waitUntilCurrent(t, pool)
	mark(t, pool, f)

	state := func() (state string) {
		get(t, pool, &state, "SELECT state FROM river.river_job ORDER BY id DESC LIMIT 1")
		return state
	}
	require.Eventually(t, func() bool { return state() == "running" }, time.Minute, 5*time.Millisecond)
	require.NoError(t, client.StopAndCancel(t.Context()))
	require.Contains(t, []string{"available", "retryable"}, state(), "the job is not lost")
	require.Equal(t, int64(1), scope(t, pool).Done)
}

func TestForecast_Wait(t *testing.T) {
	t.Parallel()
	f := New(Config{Currency: "THB"}, nil)
	now := time.Now()
	at := func(ago time.Duration) dbsqlc.ForecastScopeRow {
		computed := now.Add(-ago)
		return dbsqlc.ForecastScopeRow{ReadAt: now, ComputedAt: &computed}
	}
	require.Equal(t, 500*time.Millisecond, f.wait(at(0)), "the default: two a second")
	require.Equal(t, 400*time.Millisecond, f.wait(at(100*time.Millisecond)))
	require.LessOrEqual(t, f.wait(at(time.Second)), time.Duration(0))
	require.Equal(t, 500*time.Millisecond, f.wait(at(-time.Hour)), "a database clock that was set back stops nothing")
	require.Zero(t, f.wait(dbsqlc.ForecastScopeRow{ReadAt: now}), "never computed")
}

func TestRecomputeWorker_NextRetry(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 5: maxRetryDelay, 9999: maxRetryDelay} {
		job := &river.Job[RecomputeArgs]{JobRow: &rivertype.JobRow{Attempt: attempt}}
		before := time.Now()
		got := (*RecomputeWorker)(nil).NextRetry(job)
		require.WithinRange(t, got, before.Add(want), time.Now().Add(want))
	}
}
