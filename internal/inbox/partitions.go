package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
)

const (
	// daysAhead is how far ahead partitions are made. A missing partition would
	// fail all ingest, so two weeks are left to notice that they are not made.
	daysAhead = 14
	// partitionInterval is how often the job runs.
	partitionInterval = time.Hour
)

// MakePartitions makes the day partitions of inbox_event that are missing. It
// fails when a long SELECT holds the table; then it is simply tried again.
func MakePartitions(ctx context.Context, db dbsqlc.DBTX) error {
	if _, err := dbsqlc.New().InboxMakePartitions(ctx, db, daysAhead); err != nil {
		return fmt.Errorf("make the partitions of inbox_event: %w", err)
	}
	return nil
}

// PartitionArgs is the periodic job that makes partitions ahead.
type PartitionArgs struct{}

// Kind implements river.JobArgs.
func (PartitionArgs) Kind() string { return "inbox_partitions" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (PartitionArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueMaintenance}
}

// PartitionWorker makes partitions ahead and watches how many are left.
type PartitionWorker struct {
	river.WorkerDefaults[PartitionArgs]

	pool   *pgxpool.Pool
	alerts *alerting.Alerts
}

// NewPartitionWorker makes the worker.
func NewPartitionWorker(pool *pgxpool.Pool, alerts *alerting.Alerts) *PartitionWorker {
	return &PartitionWorker{pool: pool, alerts: alerts}
}

// PartitionSchedule runs the job every hour and at start.
func PartitionSchedule() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(partitionInterval),
		func() (river.JobArgs, *river.InsertOpts) { return PartitionArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true})
}

// Work implements river.Worker. The alert follows what is there, whether or not
// making partitions worked this time.
func (w *PartitionWorker) Work(ctx context.Context, _ *river.Job[PartitionArgs]) error {
	makeErr := MakePartitions(ctx, w.pool)
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		left, err := dbsqlc.New().InboxPartitionDaysLeft(ctx, tx)
		if err != nil {
			return fmt.Errorf("read how many partitions are left: %w", err)
		}
		if left >= health.MinPartitionDays {
			_, err = w.alerts.Resolve(ctx, tx, alerting.RulePartitionsRunningOut, "", alerting.EndPartitionsRunningOut)
			return err
		}
		_, err = w.alerts.Raise(ctx, tx, alerting.Alert{
			Rule: alerting.RulePartitionsRunningOut, Level: level.Critical,
			Message: alerting.PartitionsRunningOut(int64(left)),
			Details: map[string]any{"days_left": left},
		})
		return err
	})
	if makeErr != nil {
		return makeErr
	}
	return err
}
