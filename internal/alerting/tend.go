package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

const (
	// tendEvery is how often open episodes are looked after. All that it decides by
	// is in rows, so a leader that dies, or a deploy, costs a minute at most.
	tendEvery = time.Minute
	// aftermath is how long an episode stays muted when what explained it is over:
	// most consequences end with it, only later.
	aftermath = 5 * time.Minute
	// tendBatch bounds one transaction, in episodes.
	tendBatch = 100
)

// TendArgs is the periodic job that looks after open episodes.
type TendArgs struct{}

// Kind implements river.JobArgs.
func (TendArgs) Kind() string { return "alert_tend" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (TendArgs) InsertOpts() river.InsertOpts {
	opts := *jobs.LiveOnly() // one that is slow must not pile up
	opts.Queue = jobs.QueueMaintenance
	return opts
}

// TendSchedule runs the job every minute and at start.
func TendSchedule() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(tendEvery),
		func() (river.JobArgs, *river.InsertOpts) { return TendArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true})
}

// TendWorker judges what shows in the tables, tells what is no longer muted, and reminds of what goes on.
type TendWorker struct {
	river.WorkerDefaults[TendArgs]

	pool   *pgxpool.Pool
	alerts *Alerts
}

// NewTendWorker makes the worker.
func NewTendWorker(pool *pgxpool.Pool, alerts *Alerts) *TendWorker {
	return &TendWorker{pool: pool, alerts: alerts}
}

// Work implements river.Worker. A step that fails does not keep the others from their turn.
func (w *TendWorker) Work(ctx context.Context, _ *river.Job[TendArgs]) error {
	var failed []error
	for _, step := range []func(context.Context, pgx.Tx) (int, error){
		w.alerts.sample, w.alerts.settle, w.alerts.release, w.alerts.remind, w.alerts.fold,
	} {
		failed = append(failed, w.untilDone(ctx, step))
	}
	return errors.Join(failed...)
}

// untilDone repeats a step, a transaction each, until it finds less than a batch.
func (w *TendWorker) untilDone(ctx context.Context, step func(context.Context, pgx.Tx) (int, error)) error {
	for {
		var n int
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
			n, err = step(ctx, tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("look after open alerts: %w", err)
		}
		if n < tendBatch {
			return nil
		}
	}
}

// release tells suppressed episodes that outlived what muted them, unless
// something else mutes them by now.
func (a *Alerts) release(ctx context.Context, tx pgx.Tx) (int, error) {
	rows, err := a.queries.AlertLockReleasable(ctx, tx, dbsqlc.AlertLockReleasableParams{
		GraceSeconds: aftermath.Seconds(), MaxRows: tendBatch,
	})
	if err != nil {
		return 0, fmt.Errorf("find suppressed alerts to tell: %w", err)
	}
	for _, row := range rows {
		if err := a.tell(ctx, tx, row, true); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// remind tells episodes again that nobody acknowledged.
func (a *Alerts) remind(ctx context.Context, tx pgx.Tx) (int, error) {
	rows, err := a.queries.AlertLockReminders(ctx, tx, dbsqlc.AlertLockRemindersParams{
		EverySeconds: a.config.RemindEvery.Seconds(), MaxRows: tendBatch,
	})
	if err != nil {
		return 0, fmt.Errorf("find alerts to remind of: %w", err)
	}
	for _, row := range rows {
		if err := a.tell(ctx, tx, row, false); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// tell notifies of an open, locked episode that its channels may have heard of
// before, or suppresses it when something mutes it now.
func (a *Alerts) tell(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, released bool) error {
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	m, err := a.muted(ctx, tx, row.Rule, row.Subject)
	if err != nil {
		return err
	}
	if m.is() {
		return a.suppress(ctx, tx, row, notify.Reminder, m)
	}
	if err := a.queries.AlertTold(ctx, tx, row.ID); err != nil {
		return fmt.Errorf("tell alert %d: %w", row.ID, err)
	}
	if released {
		who := actor{actor: service, reason: "what muted it is over, and it is still open"}
		if err := a.append(ctx, tx, row.ID, "released", lvl, who, fact{Occurrences: row.Occurrences}); err != nil {
			return err
		}
	}
	return a.outbox.Enqueue(ctx, tx, row.ID, lvl, notify.Reminder)
}
