package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/retry"
	"dealbox/internal/text"
)

const (
	// sliceTime is how long one job works; then the next one goes on. So a long
	// sweep never keeps a deploy waiting, nor a slot from other jobs.
	sliceTime = 20 * time.Second
	// sliceGrace is for the step that is under way when the slice ends.
	sliceGrace = 7 * time.Second
	// runLease is longer than a job may run: past it the runner has died.
	runLease = jobs.Timeout + 15*time.Second
)

// ReconcileConfig of a ReconcileWorker.
type ReconcileConfig struct {
	Interval     time.Duration // between two deltas (default 2 m)
	FullInterval time.Duration // between two full runs (default 1 h)
	// Overlap is how far a delta looks back behind the run before it (default 2 m):
	// updatedAt is taken before the commit, so a document can appear late.
	Overlap time.Duration
	// PageSize that Strapi is asked for (default 100).
	PageSize int
	// Outbox is where notifications that lost their job are looked for.
	Outbox *notify.Outbox
}

// ReconcileWorker compares the mirror with Strapi. It never writes a mirrored
// row: each difference becomes a look, and goes the way of a webhook.
type ReconcileWorker struct {
	river.WorkerDefaults[ReconcileArgs]

	sync   *SyncWorker
	cfg    ReconcileConfig
	holder string
	slice  time.Duration // sliceTime; tests take less
}

// NewReconcileWorker makes the worker. It shares the sync's pool, source and types.
func NewReconcileWorker(sync *SyncWorker, cfg ReconcileConfig) *ReconcileWorker {
	defaults := ReconcileConfig{Interval: 2 * time.Minute, FullInterval: time.Hour, Overlap: 2 * time.Minute, PageSize: 100}
	if cfg.Interval <= 0 {
		cfg.Interval = defaults.Interval
	}
	if cfg.FullInterval <= 0 {
		cfg.FullInterval = defaults.FullInterval
	}
	if cfg.Overlap <= 0 {
		cfg.Overlap = defaults.Overlap
	}
	if cfg.PageSize <= 0 {
		cfg.PageSize = defaults.PageSize
	}
	host, _ := os.Hostname()
	return &ReconcileWorker{sync: sync, cfg: cfg, holder: fmt.Sprintf("%s:%d", host, os.Getpid()), slice: sliceTime}
}

// Work implements river.Worker: the checks of each minute, then a slice of the
// run that is under way, waits or is due. While the breaker is not closed Strapi
// is not asked, and a run that is under way stays where it is.
func (w *ReconcileWorker) Work(ctx context.Context, job *river.Job[ReconcileArgs]) error {
	seen, err := w.sync.source.breaker.Snapshot(ctx, w.sync.pool)
	if err != nil {
		return err
	}
	if !job.Args.Continue {
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	if seen.State != circuit.Closed {
		return w.later(job.Args, seen)
	}
	if !job.Args.Continue {
		if err := w.rescue(ctx); err != nil {
			return err
		}
	}
	end := time.Now().Add(w.slice)
	steps, cancel := context.WithDeadline(ctx, end.Add(sliceGrace))
	defer cancel()
	for time.Now().Before(end) {
		run, ok, err := w.claim(steps)
		if err != nil || !ok {
			return err
		}
		next, err := w.work(steps, run, end, seen)
		switch {
		case err != nil || next == afterStop:
			return err
		case next == afterOpen:
			return w.later(job.Args, seen)
		}
		if next == afterSlice {
			break
		}
	}
	return pgx.BeginFunc(ctx, w.sync.pool, func(tx pgx.Tx) error { return w.sync.queue.goOn(ctx, tx) })
}

// later leaves what waits for a closed breaker to this job, if somebody asked for
// it, so that it begins when Strapi is back; else to the job of the next minute.
func (w *ReconcileWorker) later(args ReconcileArgs, seen circuit.Snapshot) error {
	if !args.Continue {
		return nil
	}
	wait := seen.RetryIn + time.Second // see decide
	if seen.Forced {
		wait = forcedOpenSnooze
	}
	return river.JobSnooze(w.sync.spread(wait))
}

// claim takes the run to work on, asking for one first if the schedule says so.
func (w *ReconcileWorker) claim(ctx context.Context) (run dbsqlc.ReconciliationRun, ok bool, err error) {
	facts, err := dbsqlc.New().ReconciliationFacts(ctx, w.sync.pool)
	if err != nil {
		return run, false, fmt.Errorf("read when reconciliation ran: %w", err)
	}
	if extent, is := due(facts, w.cfg); is {
		_, err := dbsqlc.New().ReconciliationRequest(ctx, w.sync.pool, dbsqlc.ReconciliationRequestParams{
			Kind: string(extent), Trigger: string(TriggerSchedule), Actor: "dealbox",
		})
		if err != nil {
			return run, false, fmt.Errorf("ask for a scheduled reconciliation: %w", err)
		}
	}
	run, err = dbsqlc.New().ReconciliationClaim(ctx, w.sync.pool, dbsqlc.ReconciliationClaimParams{
		Holder: w.holder, LeaseSeconds: runLease.Seconds(), OverlapSeconds: w.cfg.Overlap.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return run, false, nil
	}
	if err != nil {
		return run, false, fmt.Errorf("claim a reconciliation: %w", err)
	}
	return run, true, nil
}

// after is what a job does when it has worked on a run.
type after int

const (
	afterRun   after = iota // the run is over: another one may wait
	afterSlice              // the run is not over: leave it to the next job
	afterOpen               // the breaker is not closed any more
	afterStop               // nothing can be done now
)

// work does steps of the run until it is over or the slice ends.
func (w *ReconcileWorker) work(ctx context.Context, run dbsqlc.ReconciliationRun, end time.Time, seen circuit.Snapshot) (after, error) {
	s := &sweep{w: w, run: run, seen: seen, drafts: map[string]bool{}}
	for first := true; ; first = false {
		if !first && time.Now().After(end) {
			return afterSlice, w.release(ctx, run)
		}
		over, err := s.step(ctx)
		switch {
		case err == nil && over:
			return afterRun, w.finish(ctx, run, "done", nil)
		case err == nil:
			continue
		case errors.Is(err, errTakenOver):
			return afterStop, nil
		case errors.Is(err, circuit.ErrOpen):
			return afterOpen, w.release(ctx, run)
		case errors.Is(err, context.Canceled):
			return afterStop, w.release(ctx, run)
		case !first && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, retry.ErrTooLate)):
			return afterSlice, w.release(ctx, run) // the next slice has time for retries
		}
		return afterStop, w.finish(ctx, run, "failed", err)
	}
}

// errTakenOver: another runner holds the run, so nothing more may be written.
var errTakenOver = errors.New("another runner has taken the reconciliation over")

// release lets another runner go on at once. If it cannot, the lease ends by itself.
func (w *ReconcileWorker) release(ctx context.Context, run dbsqlc.ReconciliationRun) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	err := dbsqlc.New().ReconciliationRelease(ctx, w.sync.pool, dbsqlc.ReconciliationReleaseParams{ID: run.ID, Generation: run.Generation})
	if err != nil {
		return fmt.Errorf("release reconciliation %d: %w", run.ID, err)
	}
	return nil
}

// finish ends the run and raises or resolves its alert with it.
func (w *ReconcileWorker) finish(ctx context.Context, run dbsqlc.ReconciliationRun, status string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	p := dbsqlc.ReconciliationFinishParams{ID: run.ID, Generation: run.Generation, Status: status}
	if cause != nil {
		text := text.Line(cause.Error(), 1000)
		p.Error = &text
	}
	err := pgx.BeginFunc(ctx, w.sync.pool, func(tx pgx.Tx) error {
		rows, err := dbsqlc.New().ReconciliationFinish(ctx, tx, p)
		if err != nil || rows == 0 {
			return err
		}
		if cause == nil {
			if _, err = w.sync.alerts.Resolve(ctx, tx, alerting.RuleReconciliationFailing, "", "a reconciliation ended well"); err != nil || run.Kind != string(Full) {
				return err
			}
			// What was refused since this run began, it may have passed already.
			_, err = w.sync.alerts.ResolveSeenBefore(ctx, tx, alerting.RuleWebhooksRefused, "", *run.StartedAt,
				"a full reconciliation made good what was refused")
			return err
		}
		_, err = w.sync.alerts.Raise(ctx, tx, alerting.Alert{
			Rule: alerting.RuleReconciliationFailing, Level: level.Error,
			Message: fmt.Sprintf("the mirror could not be compared with Strapi (%s run %d): %s", run.Kind, run.ID, *p.Error),
			Details: map[string]any{"run": run.ID, "kind": run.Kind, "error": *p.Error},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("end reconciliation %d: %w", run.ID, err)
	}
	return nil
}
