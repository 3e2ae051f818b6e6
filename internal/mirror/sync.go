package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/pgerr"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

const (
	// attemptLease is after how long an attempt that has not ended counts as died: a
	// little after River cancels it, and before River starts it again.
	attemptLease = jobs.Timeout + 5*time.Second
	// conflictTries bounds how often a transaction is repeated after a conflict.
	conflictTries = 5
	// defaultRecordTimeout is Config.RecordTimeout where none is set: with the time for
	// the requests (see fetchTimeout) it fits into jobs.Timeout.
	defaultRecordTimeout = 2 * time.Second
)

// Config of a SyncWorker.
type Config struct {
	Types []strapi.ContentType
	// MaxAttempts is how many failures in a row a document may have before it is dead.
	MaxAttempts int
	Logger      *slog.Logger
	// Random gives the jitter of the waits, from 0 up to and without 1; nil means math/rand/v2.
	Random func() float64
	// RecordTimeout bounds the write that records how an attempt ended, after the
	// time of its job is over. Default 2 s.
	RecordTimeout time.Duration
}

// SyncWorker brings one document in step with Strapi.
type SyncWorker struct {
	river.WorkerDefaults[SyncArgs]

	pool     store
	queue    *Queue
	source   *Source
	forecast *revenue.Forecast
	alerts   *alerting.Alerts
	types    map[string]strapi.ContentType
	dealUIDs []string
	cfg      Config
	paused   *typePauses
	closed   chan struct{}     // BreakerClosed makes Watch ask
	probes   atomic.Int32      // probes that failed
	unknown  map[string]string // what Watch has reported of unknown attributes, by uid
	// forgotTypes: Watch has ended what waited for types that left the settings.
	forgotTypes bool
}

// NewSyncWorker makes the worker.
func NewSyncWorker(db store, queue *Queue, source *Source, forecast *revenue.Forecast, alerts *alerting.Alerts, cfg Config) *SyncWorker {
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	if cfg.RecordTimeout <= 0 {
		cfg.RecordTimeout = defaultRecordTimeout
	}
	w := &SyncWorker{
		pool: db, queue: queue, source: source, forecast: forecast, alerts: alerts, cfg: cfg,
		types: map[string]strapi.ContentType{}, paused: newTypePauses(), unknown: map[string]string{},
		closed: make(chan struct{}, 1),
	}
	for _, t := range cfg.Types {
		w.types[t.UID] = t
		if t.Kind == strapi.Deal {
			w.dealUIDs = append(w.dealUIDs, t.UID)
		}
	}
	return w
}

// NextRetry implements river.Worker for errors that were not turned into a
// snooze. The document's row holds when it is really due.
func (w *SyncWorker) NextRetry(job *river.Job[SyncArgs]) time.Time {
	return time.Now().Add(attemptDelay(job.Attempt, w.cfg.Random))
}

// attempt is one pass of the protocol over a document.
type attempt struct {
	key Key
	t   strapi.ContentType
	seq int64 // what the job must reach
	row dbsqlc.EntityBeginRow
}

// Work runs the sync protocol: read which refresh is wanted, ask Strapi, write by
// compare-and-set, and start again when another sync was faster.
func (w *SyncWorker) Work(ctx context.Context, job *river.Job[SyncArgs]) error {
	for {
		a, next, wait, err := w.begin(ctx, job.Args)
		switch {
		case err != nil:
			return err
		case next == stepDone:
			return nil
		case next == stepSnooze:
			return river.JobSnooze(w.spread(wait))
		case next == stepAgain:
			continue
		}
		done, err := w.run(ctx, a)
		if done || err != nil {
			return err
		}
	}
}

// begin is step 1. It reads want_seq before Strapi is asked, so this attempt does
// not cover a refresh that is requested later.
func (w *SyncWorker) begin(ctx context.Context, args SyncArgs) (attempt, step, time.Duration, error) {
	key := args.key()
	t, ok := w.types[key.UID]
	if !ok {
		return attempt{}, stepSnooze, time.Hour, nil // its type left the settings; it may come back
	}
	pause := w.paused.left(t.UID)
	row, err := dbsqlc.New().EntityBegin(ctx, w.pool, dbsqlc.EntityBeginParams{
		UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Breaker: w.source.breaker.Name(),
		Seq: args.Seq, Paused: pause > 0, AttemptSeconds: attemptLease.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return attempt{}, stepDone, 0, nil
	}
	if err != nil {
		return attempt{}, stepDone, 0, fmt.Errorf("begin sync of %s: %w", key, err)
	}
	next, wait := decide(args.Seq, row, pause)
	return attempt{key: key, t: t, seq: args.Seq, row: row}, next, wait, nil
}

// spread adds up to a fifth, so that jobs which wait for the same thing do not
// come back in one instant.
func (w *SyncWorker) spread(wait time.Duration) time.Duration {
	return wait + time.Duration(w.cfg.Random()*float64(wait)/5)
}

// run is steps 2 to 4. done is false when another sync was faster.
func (w *SyncWorker) run(ctx context.Context, a attempt) (done bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			// Recorded as a failure of this document, then River's to report.
			_, _ = w.failed(ctx, a, fmt.Errorf("panic: %v", p))
			panic(p)
		}
	}()
	if int(a.row.Failures) > w.cfg.MaxAttempts {
		return w.failed(ctx, a, a.exhausted())
	}
	cur, err := w.source.fetch(ctx, a.t, a.key, a.breaker())
	if err != nil {
		return w.failed(ctx, a, err)
	}
	written, err := w.write(ctx, a, cur)
	if err != nil {
		return w.failed(ctx, a, err)
	}
	return written, nil
}

// exhausted returns why a document is given up before another attempt: its failures
// were counted, but the last of them could not make it dead.
func (a attempt) exhausted() error {
	if a.row.LastError != nil {
		return errors.New(*a.row.LastError)
	}
	return errors.New("the last attempts ended without a result: the process died or was killed during each")
}

// breaker returns the breaker's state as step 1 read it.
func (a attempt) breaker() circuit.Snapshot {
	return circuit.Snapshot{
		State: circuit.State(a.row.BreakerState), FailureCount: int(a.row.BreakerFailureCount),
		Generation: a.row.BreakerGeneration,
	}
}

// write is step 3, in one transaction that is repeated after a conflict. It returns
// false when the compare-and-set failed.
func (w *SyncWorker) write(ctx context.Context, a attempt, cur current) (written bool, err error) {
	written, err = w.writeOnce(ctx, a, cur)
	if pgerr.IsBadValue(err) && cur.found {
		written, err = w.writeAround(ctx, a, cur, err)
	}
	if err != nil && !pgerr.IsBadValue(err) && !errors.Is(err, errHeldBack) {
		err = databaseError{err}
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", a.key, err)
	}
	return written, nil
}

func (w *SyncWorker) writeOnce(ctx context.Context, a attempt, cur current) (written bool, err error) {
	for range conflictTries {
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
			written, err = w.writeTx(ctx, tx, &a, cur)
			return err
		})
		if !pgerr.IsConflict(err) {
			break
		}
	}
	if err == nil && a.row.BreakerFailureCount > 0 {
		w.endRun(ctx)
	}
	return written, err
}

// writeAround writes the document without the values that Postgres refuses. Its error
// rarely names a column, so each value is tried beside those that were taken before it.
// It returns the cause when the row is refused without any value, too.
func (w *SyncWorker) writeAround(ctx context.Context, a attempt, cur current, cause error) (written bool, err error) {
	refused := map[string]string{}
	for _, field := range fieldsOf(a.t.Kind) {
		refused[field] = pgerr.Message(cause)
	}
	for _, field := range fieldsOf(a.t.Kind) {
		cur.refused = maps.Clone(refused)
		delete(cur.refused, field)
		switch err := w.tryRow(ctx, a, cur); {
		case err == nil:
			delete(refused, field)
		case pgerr.IsBadValue(err):
			refused[field] = pgerr.Message(err)
		default:
			return false, err
		}
	}
	cur.refused = refused
	if written, err = w.writeOnce(ctx, a, cur); pgerr.IsBadValue(err) {
		return false, cause
	}
	return written, err
}

// tryRow returns the error of writing the document's row, and writes nothing.
func (w *SyncWorker) tryRow(ctx context.Context, a attempt, cur current) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	c, err := w.readChange(ctx, tx, a, cur)
	if err != nil {
		return err
	}
	if _, err = writeRow(ctx, tx, c); errors.Is(err, pgx.ErrNoRows) {
		return nil // nothing differs
	}
	return err
}

// endRun ends a run of failures that began while Strapi answered this attempt. Failure
// policy: open. The document is written, and the next success ends the run as well.
func (w *SyncWorker) endRun(ctx context.Context) {
	if err := w.source.breaker.RecordSuccess(ctx); err != nil {
		w.cfg.Logger.Warn("could not record that Strapi answered; the next success does", "error", err)
	}
}

// writeTx does the compare-and-set before it writes the row, and marks the forecast
// in its last statement. It reads the breaker's count of failures into a.
func (w *SyncWorker) writeTx(ctx context.Context, tx pgx.Tx, a *attempt, cur current) (bool, error) {
	c, err := w.readChange(ctx, tx, *a, cur)
	if err != nil {
		return false, err
	}
	others, err := w.related(ctx, tx, c)
	if err != nil {
		return false, err
	}
	if err := lock(ctx, tx, a.key, others); err != nil {
		return false, err
	}
	a.row.BreakerFailureCount, err = dbsqlc.New().EntityDone(ctx, tx, dbsqlc.EntityDoneParams{
		UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Version: a.row.Version,
		WantSeq: a.row.WantSeq, Events: a.row.Events, BegunAt: a.row.BegunAt, Unreadable: c.unreadableByField(),
		Breaker: w.source.breaker.Name(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	changed, err := apply(ctx, tx, c)
	if err != nil {
		return false, err
	}
	if _, err := w.queue.Enqueue(ctx, tx, others); err != nil {
		return false, err
	}
	if changed {
		if err := w.queue.refreshOtherLocales(ctx, tx, a.key); err != nil {
			return false, err
		}
	}
	if a.row.LastError != nil { // after every document's lock
		if err := w.leaveDead(ctx, tx, *a, cur); err != nil {
			return false, err
		}
	}
	if err := w.reportUnreadable(ctx, tx, c); err != nil {
		return false, err
	}
	if !changed {
		return true, nil
	}
	return true, w.forecast.MarkDirty(ctx, tx)
}

// leaveDead takes a document that was synchronised out of the alert about dead
// letters, if it is one of them.
func (w *SyncWorker) leaveDead(ctx context.Context, tx pgx.Tx, a attempt, cur current) error {
	outcome := "synchronised"
	if !cur.found {
		outcome = "deleted in Strapi"
	}
	_, err := w.alerts.Leave(ctx, tx, alerting.RuleEventDeadLettered, "", a.key.String(), outcome)
	return err
}

// failed ends an attempt that did not succeed. What speaks about Strapi counts no
// attempt; what speaks about the document counts, and at the limit it is dead,
// with its alert, in one transaction.
func (w *SyncWorker) failed(ctx context.Context, a attempt, cause error) (done bool, err error) {
	var away databaseError
	if errors.Is(ctx.Err(), context.Canceled) || errors.As(cause, &away) {
		// Dealbox is stopping, or Postgres is in trouble: River tries the job again.
		w.cancel(ctx, a)
		return false, cause
	}
	if errors.Is(cause, errHeldBack) {
		return w.holdBack(ctx, a)
	}
	if wait, ok := isAboutStrapi(cause); ok && !w.outlasted(ctx, a.t, cause) {
		return w.postpone(ctx, a, cause, wait)
	}
	return w.countFailure(ctx, a, cause)
}

// postpone waits for Strapi. While it waits, a job that a later one covers ends.
func (w *SyncWorker) postpone(ctx context.Context, a attempt, cause error, wait time.Duration) (bool, error) {
	w.cancel(ctx, a)
	if err := w.pause(ctx, a.t, cause, wait); err != nil {
		return false, err
	}
	return false, nil // step 1 knows how long to wait
}

// cancel takes the attempt back as far as that can be done. Failure policy: if it
// cannot, the lease ends by itself and the attempt counts.
func (w *SyncWorker) cancel(ctx context.Context, a attempt) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.RecordTimeout)
	defer cancel()
	err := dbsqlc.New().EntityCancelAttempt(ctx, w.pool, dbsqlc.EntityCancelAttemptParams{
		UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Version: a.row.Version,
	})
	if err != nil {
		w.cfg.Logger.Warn("could not take an attempt back; it counts as a failure of its document",
			"document", a.key.String(), "error", err)
	}
}

// countFailure records a failure of the document, also when the job ran out of time.
func (w *SyncWorker) countFailure(ctx context.Context, a attempt, cause error) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.RecordTimeout)
	defer cancel()
	lastError := text.Line(cause.Error(), 1000) // parts of it may be Strapi's own words
	var after dbsqlc.EntityFailedRow
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
		after, err = dbsqlc.New().EntityFailed(ctx, tx, dbsqlc.EntityFailedParams{
			UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Version: a.row.Version,
			LastError: &lastError, WantSeq: a.row.WantSeq, MaxFailures: int32(w.cfg.MaxAttempts),
			DelaySeconds: attemptDelay(int(a.row.Failures), w.cfg.Random).Seconds(),
		})
		if errors.Is(err, pgx.ErrNoRows) || err != nil || after.State != "dead" {
			return err
		}
		return w.raiseDead(ctx, tx, a, cause)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil // another sync moved the row: read it again
	case err != nil:
		return false, fmt.Errorf("record that the sync of %s failed (%w): %w", a.key, cause, err)
	case after.State == "dead":
		w.cfg.Logger.Warn("a document is a dead letter now: Dealbox has stopped trying",
			"document", a.key.String(), "failures", a.row.Failures, "error", lastError)
		return true, river.JobCancel(cause)
	case a.seq < after.WantSeq:
		return true, nil // a later job holds the document
	}
	return true, cause
}

// raiseDead joins the document to the alert about dead letters of its type.
func (w *SyncWorker) raiseDead(ctx context.Context, tx pgx.Tx, a attempt, cause error) error {
	doc, err := dbsqlc.New().DocumentDescribe(ctx, tx, dbsqlc.DocumentDescribeParams{UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale})
	if err != nil {
		return fmt.Errorf("read what people know %s by: %w", a.key, err)
	}
	_, err = w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleEventDeadLettered, Subject: a.t.Plural, Level: level.Error,
		Member: &alerting.Member{
			Key: a.key.String(), Name: doc.Name, Value: doc.Value, Shown: shownOf(doc), Reason: reasonOf(cause),
			Link: w.alerts.DocumentURL(a.key.UID, a.key.DocumentID, a.key.Locale),
		},
	})
	return err
}

// shownOf says what the mirror shows of a document that could not be mirrored.
func shownOf(doc dbsqlc.DocumentDescribeRow) string {
	switch {
	case !doc.IsShown:
		return "nothing of it, because they do not have it"
	case doc.UpdatedAt == nil:
		return "the state before"
	}
	return "its state of " + doc.UpdatedAt.UTC().Format(time.DateTime+" MST")
}

// reasonOf says why a document could not be mirrored, in words for people.
func reasonOf(cause error) string {
	if isUnanswered(cause) {
		return strapi.Words(cause) + " for each document of the type that was tried, and lists them"
	}
	if strapi.KindOf(cause) == "" {
		return cause.Error()
	}
	return strapi.Words(cause) + " for this document, and answers for the others"
}

// databaseError marks a write that failed, but not for a value of this document.
type databaseError struct{ error }

func (e databaseError) Unwrap() error { return e.error }

// IsDatabaseError reports whether it was Postgres that failed in a call of a Source, so that
// the error says nothing about Strapi.
func IsDatabaseError(err error) bool {
	_, ok := errors.AsType[databaseError](err)
	return ok
}
