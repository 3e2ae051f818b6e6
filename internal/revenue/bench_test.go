package revenue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

// BenchmarkRecompute reads the mirror from Postgres and computes; the target is
// 0.5 s for 100,000 deals.
func BenchmarkRecompute(b *testing.B) {
	for _, rows := range []struct{ deals, billings int }{{10_000, 15_000}, {100_000, 0}, {100_000, 150_000}} {
		b.Run(fmt.Sprintf("%d_deals_%d_billings", rows.deals, rows.billings), func(b *testing.B) {
			pool := pgtest.Pool(b)
			fillMirror(b, pool, rows.deals, rows.billings)
			f := New(Config{Currency: "THB"}, nil)
			before := cpuTime(b)
			for b.Loop() {
				s, err := f.computeMirror(context.Background(), pool)
				require.NoError(b, err)
				require.Positive(b, s.Deals)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "own-cpu-ms/op")
		})
	}
}

// BenchmarkRead is the part of BenchmarkRecompute before any computing.
func BenchmarkRead(b *testing.B) {
	pool := pgtest.Pool(b)
	fillMirror(b, pool, 100_000, 150_000)
	for b.Loop() {
		for _, err := range deals(b.Context(), pool) {
			require.NoError(b, err)
		}
		for _, err := range billings(b.Context(), pool) {
			require.NoError(b, err)
		}
	}
}

// BenchmarkCompute computes 100,000 deals and 150,000 billings that are in memory.
func BenchmarkCompute(b *testing.B) {
	pool := pgtest.Pool(b)
	fillMirror(b, pool, 100_000, 150_000)
	in := portfolio{Currency: "THB"}
	for d, err := range deals(b.Context(), pool) {
		require.NoError(b, err)
		in.Deals = append(in.Deals, d)
	}
	for x, err := range billings(b.Context(), pool) {
		require.NoError(b, err)
		in.Billings = append(in.Billings, x)
	}
	rand.Shuffle(len(in.Deals), func(i, j int) { in.Deals[i], in.Deals[j] = in.Deals[j], in.Deals[i] })
	for b.Loop() {
		in.compute()
	}
}

// cpuTime is what this process has used: it says more than the time of day on a
// machine that others use. Postgres' part is not in it.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillMirror makes deals like those of a sales team: 80 % active, 12 months long
// on average.
func fillMirror(b *testing.B, pool *pgxpool.Pool, deals, billings int) {
	b.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := pool.Exec(b.Context(), `
		INSERT INTO deal (uid, document_id, name, deal_value, currency, status, stage, probability, confidence_override,
			expected_close_date, recognition_start_month, recognition_end_month, published_at)
		SELECT 'api::pipeline-deal.pipeline-deal', substr(md5(i::text), 1, 24), 'Deal ' || i, (random() * 1e7)::numeric(12,2),
			CASE WHEN i % 10 > 0 THEN 'THB' WHEN i % 20 = 0 THEN 'USD' END, CASE WHEN i % 5 > 0 THEN 'active' ELSE 'lost' END,
			(ARRAY['prospecting','qualification','proposal','negotiation','closed-won','closed-lost'])[1 + i % 6],
			CASE WHEN i % 3 > 0 THEN i % 101 END, CASE WHEN i % 7 = 0 THEN i % 101 END,
			$2::date + (i % 700), CASE WHEN i % 4 > 0 THEN $2::date + (i % 700) END,
			CASE WHEN i % 4 > 0 THEN $2::date + (i % 700) + (i % 24) * 31 END, now()
		FROM generate_series(1, $1::int) i`, deals, start)
	require.NoError(b, err)
	_, err = pool.Exec(b.Context(), `
		INSERT INTO billing (uid, document_id, amount, currency, status, invoice_date, collected_date, published_at)
		SELECT 'api::billing.billing', substr(md5(i::text), 1, 24), (random() * 1e6)::numeric(12,2), 'THB', 'sent',
			$2::date + (i % 700), CASE WHEN i % 2 > 0 THEN $2::date + (i % 700) + 30 END, now()
		FROM generate_series(1, $1::int) i`, billings, start)
	require.NoError(b, err)
	_, err = pool.Exec(b.Context(), "VACUUM ANALYZE deal, billing")
	require.NoError(b, err)
}
