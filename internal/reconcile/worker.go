package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

const (
	// sliceGrace is for the step that is under way when the slice ends.
	sliceGrace = 7 * time.Second
	// runLease is longer than a job may run: past it the runner has died.
	runLease = jobs.Timeout + 15*time.Second
)

// Config of a Worker.
type Config struct {
	Types []strapi.ContentType
	// Random gives the jitter of the waits, from 0 up to and without 1; nil means math/rand/v2.
	Random       func() float64
	Interval     time.Duration // between two deltas (default 2 m)
	FullInterval time.Duration // between two full runs (default 1 h)
	// Overlap is how far a delta reaches back behind the run before it (default 2 m):
	// updatedAt is taken before the commit, so a document can appear late.
	Overlap time.Duration
	// PageSize of the requests to Strapi (default 100).
	PageSize int
	// Requeue are called each minute while the breaker is closed. Each inserts a job
	// for the rows of its stage that have waited for minutes and have none.
	Requeue []func(context.Context, pgx.Tx) error
	// Slice is how long one job works; then the next one continues. So a long run
	// never keeps a deploy waiting, nor a slot from other jobs. Default 20 s.
	Slice time.Duration
	// RecordTimeout bounds the write that records how a run ended, after the time
	// of its job is over. Default 2 s.
	RecordTimeout time.Duration
}

// Worker compares the mirror with Strapi. It never writes a mirrored row: each
// difference becomes a refresh, and goes the way of a webhook.
type Worker struct {
	river.WorkerDefaults[Args]

	pool      store
	queue     *Queue
	refreshes *mirror.Queue
	source    *mirror.Source
	alerts    *alerting.Alerts
	dealUIDs  []string
	cfg       Config
	holder    string
}

// NewWorker makes the worker. refreshes is the door of the mirror.
func NewWorker(db store, queue *Queue, refreshes *mirror.Queue, source *mirror.Source, alerts *alerting.Alerts, cfg Config) *Worker {
	cfg.Interval = cmp.Or(cfg.Interval, 2*time.Minute)
	cfg.FullInterval = cmp.Or(cfg.FullInterval, time.Hour)
	cfg.Overlap = cmp.Or(cfg.Overlap, 2*time.Minute)
	cfg.PageSize = cmp.Or(cfg.PageSize, 100)
	cfg.Slice = cmp.Or(cfg.Slice, 20*time.Second)
	cfg.RecordTimeout = cmp.Or(cfg.RecordTimeout, 2*time.Second)
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	w := &Worker{pool: db, queue: queue, refreshes: refreshes, source: source, alerts: alerts, cfg: cfg}
	for _, t := range cfg.Types {
		if t.Kind == strapi.Deal {
			w.dealUIDs = append(w.dealUIDs, t.UID)
		}
	}
	host, _ := os.Hostname()
	w.holder = fmt.Sprintf("%s:%d", host, os.Getpid())
	return w
}

// Work implements river.Worker: the checks of each minute, then a slice of the
// run that is under way, waits or is due. While the breaker is not closed Strapi
// is not asked, and a run that is under way stays where it is.
func (w *Worker) Work(ctx context.Context, job *river.Job[Args]) error {
	breaker, err := w.source.Breaker(ctx)
	if err != nil {
		return err
	}
	if !job.Args.Continue {
		if err := w.countLost(ctx); err != nil {
			return err
		}
	}
	if breaker.State != circuit.Closed {
		return w.postpone(job.Args, breaker)
	}
	if !job.Args.Continue {
		if err := w.requeue(ctx); err != nil {
			return err
		}
	}
	end := time.Now().Add(w.cfg.Slice)
	steps, cancel := context.WithDeadline(ctx, end.Add(sliceGrace))
	defer cancel()
	for time.Now().Before(end) {
		run, ok, err := w.claim(steps)
		if err != nil || !ok {
			return err
		}
		next, err := w.work(steps, run, end, breaker)
		switch {
		case err != nil || next == afterStop:
			return err
		case next == afterOpen:
			return w.postpone(job.Args, breaker)
		}
		if next == afterSlice {
			break
		}
	}
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return w.queue.continueRun(ctx, tx) })
}

// postpone keeps this job until the breaker closes, if it is there to continue a run,
// so that it does so when Strapi is back; else the job of the next minute does.
func (w *Worker) postpone(args Args, breaker circuit.Snapshot) error {
	if !args.Continue {
		return nil
	}
	wait := breaker.RetryIn + time.Second // a little after the probe
	if breaker.Forced {
		wait = forcedOpenSnooze
	}
	return river.JobSnooze(w.spread(wait))
}

// spread adds up to a fifth, so that jobs which wait for the same thing do not
// come back in one instant.
func (w *Worker) spread(wait time.Duration) time.Duration {
	return wait + time.Duration(w.cfg.Random()*float64(wait)/5)
}

// forcedOpenSnooze is how long a job waits while an operator holds the breaker open:
// no time is known then.
const forcedOpenSnooze = 15 * time.Second

// claim takes the run to work on. It requests one first if the schedule has one due.
func (w *Worker) claim(ctx context.Context) (run dbsqlc.ReconciliationRun, ok bool, err error) {
	last, err := dbsqlc.New().ReconciliationAges(ctx, w.pool)
	if err != nil {
		return run, false, fmt.Errorf("read when reconciliation ran: %w", err)
	}
	if extent, is := due(last, w.cfg); is {
		_, err := dbsqlc.New().ReconciliationRequest(ctx, w.pool, dbsqlc.ReconciliationRequestParams{
			Kind: string(extent), Trigger: string(TriggerSchedule), Actor: "dealbox",
		})
		if err != nil {
			return run, false, fmt.Errorf("request a scheduled reconciliation: %w", err)
		}
	}
	run, err = dbsqlc.New().ReconciliationClaim(ctx, w.pool, dbsqlc.ReconciliationClaimParams{
		Holder: w.holder, LeaseSeconds: runLease.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return run, false, nil
	}
	if err != nil {
		return run, false, fmt.Errorf("claim a reconciliation: %w", err)
	}
	return run, true, nil
}

// begin makes the types of a run that has just begun, and reads how far each is.
func (w *Worker) begin(ctx context.Context, run dbsqlc.ReconciliationRun, breaker circuit.Snapshot) (*sweep, error) {
	s := &sweep{w: w, run: run, breaker: breaker, pageSize: w.cfg.PageSize}
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
		if run.Stage == 0 && run.Cursor == "" {
			if err := w.prepare(ctx, tx, run); err != nil {
				return err
			}
		}
		s.types, err = dbsqlc.New().ReconciliationTypes(ctx, tx, run.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin reconciliation %d: %w", run.ID, err)
	}
	return s, nil
}

func (w *Worker) prepare(ctx context.Context, tx pgx.Tx, run dbsqlc.ReconciliationRun) error {
	if err := dbsqlc.New().ReconciliationStagedClear(ctx, tx, run.ID); err != nil {
		return err
	}
	p := dbsqlc.ReconciliationTypeInsertParams{RunID: run.ID, OverlapSeconds: w.cfg.Overlap.Seconds()}
	for _, t := range w.cfg.Types {
		p.Uids, p.Plurals = append(p.Uids, t.UID), append(p.Plurals, t.Plural)
	}
	return dbsqlc.New().ReconciliationTypeInsert(ctx, tx, p)
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
func (w *Worker) work(ctx context.Context, run dbsqlc.ReconciliationRun, end time.Time, breaker circuit.Snapshot) (after, error) {
	s, err := w.begin(ctx, run, breaker)
	if err != nil {
		return afterStop, w.stop(ctx, run, err)
	}
	for first := true; ; first = false {
		if !first && time.Now().After(end) {
			return afterSlice, w.endLease(ctx, run)
		}
		over, err := s.stepOrFail(ctx, first)
		switch {
		case err == nil && over:
			return afterRun, w.finish(ctx, run, nil)
		case err == nil:
			continue
		case errors.Is(err, errTakenOver):
			return afterStop, nil
		case errors.Is(err, circuit.ErrOpen):
			return afterOpen, w.endLease(ctx, run)
		case errors.Is(err, context.Canceled):
			return afterStop, w.endLease(ctx, run)
		case !first && isLate(err):
			return afterSlice, w.endLease(ctx, run) // the next slice has time for retries
		}
		return afterStop, w.stop(ctx, run, err)
	}
}

// stop ends the slice after an error that is no type's: the job, or that of the next minute,
// continues the run once the database can be used again. Any other error ends the run.
func (w *Worker) stop(ctx context.Context, run dbsqlc.ReconciliationRun, cause error) error {
	if !isAway(cause) {
		return w.finish(ctx, run, cause)
	}
	if err := w.endLease(ctx, run); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("reconciliation %d goes on later: %w", run.ID, cause)
}

// stepOrFail does a step, and ends the comparison of its type if that fails. One that only
// ran out of time is done again in the next slice, unless it had a slice for itself.
func (s *sweep) stepOrFail(ctx context.Context, first bool) (over bool, err error) {
	over, err = s.step(ctx)
	if failed, ok := errors.AsType[typeError](err); ok && (first || !isLate(err)) {
		return false, s.typeFailed(ctx, failed)
	}
	return over, err
}

// errTakenOver means that another runner holds the run, so nothing more may be written.
var errTakenOver = errors.New("another runner has taken the reconciliation over")

// endLease lets another runner continue at once. If it cannot, the lease ends by itself.
func (w *Worker) endLease(ctx context.Context, run dbsqlc.ReconciliationRun) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.RecordTimeout)
	defer cancel()
	err := dbsqlc.New().ReconciliationEndLease(ctx, w.pool, dbsqlc.ReconciliationEndLeaseParams{ID: run.ID, Generation: run.Generation})
	if err != nil {
		return fmt.Errorf("end the lease of reconciliation %d: %w", run.ID, err)
	}
	return nil
}
