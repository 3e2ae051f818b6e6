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
	// reviewInterval is how often open episodes are reviewed. All that a review
	// decides by is in rows, so a leader that dies, or a deploy, costs a minute at most.
	reviewInterval = time.Minute
	// inhibitionGrace is how long an episode stays muted when its inhibitor has
	// ended: most effects end with their cause, only later.
	inhibitionGrace = 5 * time.Minute
	// reviewBatch bounds one transaction, in episodes.
	reviewBatch = 100
)

// ReviewArgs is the periodic job that reviews open episodes.
type ReviewArgs struct{}

// Kind implements river.JobArgs.
func (ReviewArgs) Kind() string { return "alert_review" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (ReviewArgs) InsertOpts() river.InsertOpts {
	opts := *jobs.LiveOnly() // one that is slow must not pile up
	opts.Queue = jobs.QueueMaintenance
	return opts
}

// ReviewSchedule runs the job every minute and at start.
func ReviewSchedule() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(reviewInterval),
		func() (river.JobArgs, *river.InsertOpts) { return ReviewArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true})
}

// ReviewWorker checks the conditions that show in the tables, resolves what is
// quiet, notifies episodes that nothing mutes any more, and reminds of the others.
type ReviewWorker struct {
	river.WorkerDefaults[ReviewArgs]

	pool   *pgxpool.Pool
	alerts *Alerts
}

// NewReviewWorker makes the worker.
func NewReviewWorker(pool *pgxpool.Pool, alerts *Alerts) *ReviewWorker {
	return &ReviewWorker{pool: pool, alerts: alerts}
}

// Work implements river.Worker. A step that fails does not keep the others from running.
func (w *ReviewWorker) Work(ctx context.Context, _ *river.Job[ReviewArgs]) error {
	var failed []error
	for _, step := range []func(context.Context, pgx.Tx) (int, error){
		w.alerts.reviewConditions, w.alerts.resolveQuiet, w.alerts.unmute, w.alerts.remind, w.alerts.fold,
	} {
		failed = append(failed, w.untilDone(ctx, step))
	}
	return errors.Join(failed...)
}

// untilDone repeats a step, a transaction each, until it finds less than a batch.
func (w *ReviewWorker) untilDone(ctx context.Context, step func(context.Context, pgx.Tx) (int, error)) error {
	for {
		var n int
		err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
			n, err = step(ctx, tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("review open alerts: %w", err)
		}
		if n < reviewBatch {
			return nil
		}
	}
}

// unmute notifies suppressed episodes that outlived what muted them, unless
// something else mutes them by now.
func (a *Alerts) unmute(ctx context.Context, tx pgx.Tx) (int, error) {
	rows, err := a.queries.AlertLockUnmuted(ctx, tx, dbsqlc.AlertLockUnmutedParams{
		GraceSeconds: inhibitionGrace.Seconds(), MaxRows: reviewBatch,
	})
	if err != nil {
		return 0, fmt.Errorf("find alerts that nothing mutes any more: %w", err)
	}
	for _, row := range rows {
		if err := a.renotify(ctx, tx, row); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// remind notifies again of episodes that nobody acknowledged, and of groups that
// have doubled since their last notice, or since somebody acknowledged them.
func (a *Alerts) remind(ctx context.Context, tx pgx.Tx) (int, error) {
	rows, err := a.queries.AlertLockReminders(ctx, tx, dbsqlc.AlertLockRemindersParams{
		EverySeconds: a.config.RemindEvery.Seconds(), MaxRows: reviewBatch,
	})
	if err != nil {
		return 0, fmt.Errorf("find alerts to remind of: %w", err)
	}
	for _, row := range rows {
		if err := a.renotify(ctx, tx, row); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// renotify notifies again of an open, locked episode, or suppresses it when
// something mutes it now.
func (a *Alerts) renotify(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert) error {
	m, err := a.muteOf(ctx, tx, row.Rule, row.Subject)
	if err != nil {
		return err
	}
	if m.exists() {
		return a.suppress(ctx, tx, row, m)
	}
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	if err := a.queries.AlertNotified(ctx, tx, row.ID); err != nil {
		return fmt.Errorf("notify again of alert %d: %w", row.ID, err)
	}
	r := record{level: lvl, values: values{Occurrences: row.Occurrences}}
	switch Status(row.Status) {
	case Suppressed:
		r.kind, r.reason = "released", "nothing mutes it any more, and it is still open"
	case Acknowledged:
		r.kind, r.reason = "escalated", "its members have doubled since it was acknowledged"
	}
	if r.kind != "" {
		if err := a.append(ctx, tx, row.ID, r); err != nil {
			return err
		}
	}
	return a.notify(ctx, tx, row.ID, lvl, notify.Reminder, m)
}

// suppress mutes an open episode that the caller has locked.
func (a *Alerts) suppress(ctx context.Context, tx pgx.Tx, row dbsqlc.Alert, m mute) error {
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	err = a.queries.AlertSuppress(ctx, tx, dbsqlc.AlertSuppressParams{ID: row.ID, SilenceID: m.SilenceID, InhibitorID: m.InhibitorID})
	if err != nil {
		return fmt.Errorf("suppress alert %d: %w", row.ID, err)
	}
	return a.notify(ctx, tx, row.ID, lvl, notify.Reminder, m)
}
