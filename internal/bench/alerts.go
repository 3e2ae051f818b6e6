package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// reads is how often each read of alerts is made.
const reads = 500

// alerts measures the list and the summaries with ten rows of history for each
// episode. One in a thousand is open, as after some years of service.
func alerts(ctx context.Context, url string, episodes int) error {
	pool, err := freshPool(ctx, url, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := stock(ctx, pool, episodes); err != nil {
		return fmt.Errorf("store %d episodes: %w", episodes, err)
	}
	old := time.Now().AddDate(0, -6, 0)
	for _, r := range []struct {
		name string
		read func() error
	}{
		{"list, no filter, 50 episodes", listing(ctx, pool, alerting.Filter{Limit: 50})},
		{"list, firing, 50", listing(ctx, pool, alerting.Filter{Limit: 50, Statuses: []alerting.Status{alerting.Firing}})},
		{"list, critical of one rule, 50", listing(ctx, pool, alerting.Filter{Limit: 50, MinLevel: level.Critical, Rule: "rule_3"})},
		{"list, until half a year ago, 50", listing(ctx, pool, alerting.Filter{Limit: 50, Until: old})},
		{"summary of the list", func() error { _, err := alerting.Summarize(ctx, pool); return err }},
		{"review of 24 hours", func() error { _, err := alerting.ReviewWindow(ctx, pool, time.Time{}, time.Time{}); return err }},
		{"review of 30 days", func() error {
			_, err := alerting.ReviewWindow(ctx, pool, time.Now().AddDate(0, 0, -30), time.Time{})
			return err
		}},
		{"one alert with its history", func() error { _, err := alerting.Get(ctx, pool, int64(episodes/2)); return err }},
	} {
		if err := timed(r.name, r.read); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

func listing(ctx context.Context, pool *pgxpool.Pool, f alerting.Filter) func() error {
	return func() error {
		_, err := alerting.List(ctx, pool, f)
		return err
	}
}

func timed(name string, read func() error) error {
	took := make([]time.Duration, reads)
	for i := range took {
		start := time.Now()
		if err := read(); err != nil {
			return err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	fmt.Printf("  %-34s p50 %6.2f ms  p99 %6.2f ms\n", name, milliseconds(took[reads/2]), milliseconds(took[reads*99/100]))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// stock stores the episodes, spread over the last 400 days. The triggers would
// count them one by one, so they are left out and their sums are made at the end.
func stock(ctx context.Context, pool *pgxpool.Pool, episodes int) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for _, statement := range []string{
		`SET session_replication_role = replica`,
		`SET synchronous_commit = off`,
		fmt.Sprintf(`INSERT INTO alert (fingerprint, rule, subject, level, status, message, details, first_seen, last_seen, resolved_at)
			SELECT 'v1:rule_' || i %% 12 || ':' || i, 'rule_' || i %% 12, i, (ARRAY['info', 'warning', 'error', 'critical'])[1 + i %% 4],
			       CASE WHEN i %% 1000 = 0 THEN 'firing' ELSE 'resolved' END, 'a document could not be synchronised', '{"failures":12}',
			       seen, seen, CASE WHEN i %% 1000 <> 0 THEN seen END
			FROM generate_series(1, %[1]d) i, LATERAL (SELECT now() - (%[1]d - i) * interval '400 days' / %[1]d AS seen) s`, episodes),
		fmt.Sprintf(`INSERT INTO alert_event (alert_id, at, kind, level, actor, reason, details)
			SELECT i, now() - (%[1]d - i) * interval '400 days' / %[1]d,
			       CASE n WHEN 1 THEN 'raised' WHEN 9 THEN 'notified' WHEN 10 THEN 'resolved' ELSE 'repeated' END, 'error', 'dealbox', '',
			       '{"message":"a document could not be synchronised","occurrences":3,"seconds":60}'
			FROM generate_series(1, %[1]d) i, generate_series(1, 10) n`, episodes),
		`DELETE FROM alert_tally`,
		`INSERT INTO alert_tally SELECT rule, level, status, count(*) FROM alert GROUP BY rule, level, status`,
		`INSERT INTO alert_hour (hour, rule, level, raised, resolved, open_seconds, open_longest, sent)
			SELECT date_trunc('hour', last_seen, 'UTC'), rule, level, count(*), count(*), 60 * count(*), 60, count(*) FROM alert GROUP BY 1, 2, 3`,
		`SET session_replication_role = origin`,
		`VACUUM ANALYZE alert`, `VACUUM ANALYZE alert_event`, `VACUUM ANALYZE alert_hour`, `ANALYZE alert_tally`,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
