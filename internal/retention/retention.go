// Package retention removes what is older than the settings allow. The service's
// role may delete nothing of it: functions of the tables' owner do, which have a
// floor of their own, keep what is open, and write down what they removed (table
// retention_event, view audit_retention).
package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
)

// The shortest times that may be kept; the functions refuse less.
const (
	MinEvents    = 7 * 24 * time.Hour
	MinAlerts    = 30 * 24 * time.Hour
	MinForecasts = time.Hour
)

const (
	// tick is how often the job runs. What is due is in the tables, so nothing is
	// lost when a tick is.
	tick = time.Hour
	// sliceTime is how long one run works; then it is snoozed for a moment, so
	// that it never keeps a deploy waiting nor a slot from other jobs.
	sliceTime = 20 * time.Second
	// afterFailure is when a run that failed, such as behind an auditor's long
	// SELECT, is tried again.
	afterFailure = 5 * time.Minute
	// keepReconciliations is how long reconciliation_run is kept, with its differences.
	keepReconciliations = 30 * 24 * time.Hour
)

// Config says how long things are kept; no value may be less than its minimum.
type Config struct {
	// Events: inbox_event, by whole UTC days, and mirror_change (default 90 d).
	Events time.Duration
	// Alerts: resolved episodes with their history and notifications,
	// circuit_breaker_event, and alert_hour (default 400 d).
	Alerts time.Duration
	// Forecasts: every snapshot; older ones one a UTC day, for good (default 48 h).
	Forecasts time.Duration
}

// Args is the periodic job.
type Args struct{}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "retention" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (Args) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: jobs.QueueMaintenance} }

// Schedule runs the job every hour and at start, one at a time.
func Schedule() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(tick),
		func() (river.JobArgs, *river.InsertOpts) { return Args{}, jobs.LiveOnly() },
		&river.PeriodicJobOpts{RunOnStart: true})
}

// Worker removes what is due.
type Worker struct {
	river.WorkerDefaults[Args]

	pool   *pgxpool.Pool
	prunes []prune
}

// NewWorker makes the worker. Zero values of the Config take the defaults.
func NewWorker(pool *pgxpool.Pool, c Config) *Worker {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Events, 90 * 24 * time.Hour}, {&c.Alerts, 400 * 24 * time.Hour}, {&c.Forecasts, 48 * time.Hour}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return &Worker{pool: pool, prunes: prunes(c)}
}

// NextRetry implements river.Worker.
func (*Worker) NextRetry(*river.Job[Args]) time.Time { return time.Now().Add(afterFailure) }

// Work implements river.Worker: every subject in turn, one batch a transaction.
// One that fails, such as behind a lock, does not keep the others waiting.
func (w *Worker) Work(ctx context.Context, _ *river.Job[Args]) error {
	end := time.Now().Add(sliceTime)
	var failed error
	for _, p := range w.prunes {
		for more := true; more; {
			if time.Now().After(end) {
				return cmp.Or(failed, river.JobSnooze(time.Second))
			}
			var err error
			if more, err = p.batch(ctx, w.pool); err != nil {
				failed = errors.Join(failed, fmt.Errorf("retention of %s: %w", p.subject, err))
				break
			}
		}
	}
	return failed
}

// prune removes one batch of a subject and reports whether there may be more.
type prune struct {
	subject string
	batch   func(context.Context, dbsqlc.DBTX) (more bool, err error)
}

func prunes(c Config) []prune {
	q := dbsqlc.New()
	return []prune{
		{"inbox_event", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			return q.RetentionDropDay(ctx, db, c.Events.Seconds())
		}},
		{"mirror_change", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 10_000
			n, err := q.RetentionPruneChanges(ctx, db, dbsqlc.RetentionPruneChangesParams{KeepSeconds: c.Events.Seconds(), Batch: batch})
			return n == batch, err
		}},
		{"alert", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 500 // episodes; one can have many rows of history
			n, err := q.RetentionPruneAlerts(ctx, db, dbsqlc.RetentionPruneAlertsParams{KeepSeconds: c.Alerts.Seconds(), Batch: batch})
			return n == batch, err
		}},
		{"circuit_breaker_event", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 10_000
			n, err := q.RetentionPruneBreaker(ctx, db, dbsqlc.RetentionPruneBreakerParams{KeepSeconds: c.Alerts.Seconds(), Batch: batch})
			return n == batch, err
		}},
		{"alert_hour", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 10_000
			n, err := q.RetentionPruneHours(ctx, db, dbsqlc.RetentionPruneHoursParams{KeepSeconds: c.Alerts.Seconds(), Batch: batch})
			return n == batch, err
		}},
		{"reconciliation_run", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 500 // runs; one can have many differences
			n, err := q.RetentionPruneReconciliations(ctx, db, dbsqlc.RetentionPruneReconciliationsParams{
				KeepSeconds: keepReconciliations.Seconds(), Batch: batch,
			})
			return n == batch, err
		}},
		{"forecast", func(ctx context.Context, db dbsqlc.DBTX) (bool, error) {
			const batch = 200 // snapshots; each has a row a month and currency
			n, err := q.RetentionPruneForecasts(ctx, db, dbsqlc.RetentionPruneForecastsParams{KeepSeconds: c.Forecasts.Seconds(), Batch: batch})
			return n == batch, err
		}},
	}
}
