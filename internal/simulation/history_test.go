package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/inbox"
	"dealbox/internal/mirror"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// profile is what may happen in a history.
type profile struct {
	drafts bool
	// lossless: Strapi's webhooks all arrive and are committed, nothing is changed
	// behind its back, and no reconciliation runs before the end. So the protocol
	// alone must make the mirror equal Strapi.
	lossless bool
	// faults: one stop in so many goes wrong; 0 is never.
	faults  int
	changes int // of Strapi
	// deals and billings are how many there are at most: on few documents more happens.
	deals, billings int
}

// history is one run of the simulation.
type history struct {
	*env

	profile  profile
	inserter inserter
	jobs     *postgres
	known    []jobRow // the live jobs, as of so many commits
	read     int
	facts    postgresFacts
	watch    *watch
	routines []*routine
	ended    []*routine // guarded by the scheduler's mutex
	webhook  []webhook
	lost     bool // a webhook did not lead to a committed event
	// odd are the types that list rows which are no documents; oddRows: there is one.
	odd     map[string]bool
	oddRows bool
	twins   bool // a document was published twice
	// restless is how often Strapi still changes while the history drains.
	restless int
	// eventful: time goes on while the history drains, so that what happens has an order.
	eventful  bool
	acked     map[string]bool
	started   time.Time
	ctx       context.Context //nolint:containedctx // of all goroutines; close ends it
	cancel    context.CancelFunc
	documents []*document
	changed   int
	saves     int // of poisoned documents, while the history drains
	trace     []line
	spawned   int
	calm      bool // nothing goes wrong any more
}

// line of the trace, written out only when somebody reads it.
type line struct {
	at     time.Duration
	format string
	args   []any
}

type webhook struct {
	body []byte
	name string
}

// routine is a goroutine that works.
type routine struct {
	name  string
	job   int64 // 0: none
	err   error
	over  bool // it ended by itself, and was not killed
	after func(*routine)
}

// violation is a broken promise.
type violation struct{ promise, text string }

func (v violation) Error() string { return v.promise + ": " + v.text }

func violated(promise, format string, args ...any) error {
	return violation{promise, fmt.Sprintf(format, args...)}
}

func (h *history) note(format string, args ...any) {
	h.trace = append(h.trace, line{time.Since(h.started), format, args})
}

// story is the trace, readable.
func (h *history) story() string {
	var b strings.Builder
	for _, l := range h.trace {
		fmt.Fprintf(&b, "%9.3f  %s\n", l.at.Seconds(), fmt.Sprintf(l.format, l.args...))
	}
	return h.names.in(b.String())
}

// run lets the history happen and returns the first broken promise.
func (h *history) run() error {
	h.note("profile: %+v", h.profile)
	for h.profile.changes > 0 {
		if err := h.step(); err != nil {
			return err
		}
	}
	for range h.random.IntN(60) {
		if err := h.step(); err != nil {
			return err
		}
	}
	return h.end()
}

// quiesce lets everything run that waits for no signal, and checks the promises.
func (h *history) quiesce() error {
	synctest.Wait()
	for _, body := range h.arrived() {
		env, _ := strapi.ParseEnvelope(body)
		w := webhook{body, env.Event + " of " + env.DocumentID}
		if slices.ContainsFunc(h.webhook, func(o webhook) bool { return string(o.body) == string(body) }) {
			continue
		}
		h.webhook = append(h.webhook, w)
	}
	h.mu.Lock()
	ended := h.ended
	h.ended = nil
	h.mu.Unlock()
	slices.SortFunc(ended, func(a, b *routine) int { return strings.Compare(a.name, b.name) })
	for _, t := range ended {
		h.routines = slices.DeleteFunc(h.routines, func(o *routine) bool { return o == t })
		if p := (panicked{}); errors.As(t.err, &p) {
			return violated("panic", "%s: %v\n%s", t.name, p.value, p.stack)
		}
		if t.over && t.err == nil {
			if err := h.watch.endsRun(h, t.name); err != nil {
				return err
			}
		}
		if t.after != nil {
			t.after(t)
		}
	}
	return h.watch.check(h)
}

// step does one thing.
func (h *history) step() error {
	if err := h.quiesce(); err != nil {
		return err
	}
	time.Sleep(time.Millisecond) //nolint:forbidigo // of the history, not of the test
	if err := h.quiesce(); err != nil {
		return err
	}
	return h.choose()
}

// spawn starts a goroutine; it stops at the first gate.
func (h *history) spawn(name string, job int64, run func(context.Context) error, after func(*routine)) {
	h.spawned++
	t := &routine{name: fmt.Sprintf("%s #%d", name, h.spawned), job: job, after: after}
	h.routines = append(h.routines, t)
	ctx := context.WithValue(h.ctx, workerKey{}, t.name)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				t.err = panicked{p, debug.Stack()}
			}
			h.mu.Lock()
			h.ended = append(h.ended, t)
			h.mu.Unlock()
		}()
		t.err = run(ctx)
		t.over = true
	}()
}

type panicked struct {
	value any
	stack []byte
}

func (p panicked) Error() string { return fmt.Sprint("panic: ", p.value) }

// startJob gives a job to a replica.
func (h *history) startJob(j jobRow) error {
	r := h.replicas[h.random.IntN(len(h.replicas))]
	name := jobName(j.Args)
	h.note("start %s", name)
	if err := h.move(j.ID, "available", "running", j.Due); err != nil {
		return err
	}
	h.spawn(name, j.ID, func(ctx context.Context) error { return r.work(ctx, j) }, h.jobEnded)
	return nil
}

func jobName(args river.JobArgs) string {
	switch a := args.(type) {
	case mirror.SyncArgs:
		return fmt.Sprintf("sync of %s to %d", a.DocumentID, a.Seq)
	case reconcile.Args:
		return "reconcile"
	case revenue.RecomputeArgs:
		return "recompute"
	}
	return "unknown"
}

// jobEnded is what River does with what a worker returned.
func (h *history) jobEnded(t *routine) {
	switch {
	case !t.over:
		h.note("%s was killed", t.name)
		return // River does not know: the job is running until it is rescued
	case !h.calm && h.profile.faults > 0 && h.random.IntN(20) == 0:
		h.note("%s ended (%s), and its process died before River wrote that down", t.name, outcome(t.err))
		return
	}
	to, due := "completed", time.Now()
	var snooze *river.JobSnoozeError
	switch {
	case errors.As(t.err, &snooze):
		to, due = "available", wholeMillisecond(snooze.Duration)
	case t.err != nil && !errors.As(t.err, new(*river.JobCancelError)):
		to, due = "available", wholeMillisecond(time.Second+time.Duration(h.random.IntN(int(10*time.Second))))
	}
	h.note("%s: %s", t.name, outcome(t.err))
	if err := h.move(t.job, "running", to, due); err != nil {
		h.note("River cannot write: %v", err)
	}
}

// wholeMillisecond is when d has passed: Postgres keeps no nanoseconds.
func wholeMillisecond(d time.Duration) time.Time {
	return time.Now().Add(d).Truncate(time.Millisecond).Add(time.Millisecond)
}

// live are the jobs to be worked, read again only after something was written.
func (h *history) live() (_ []jobRow, err error) {
	if h.read != h.written["river_job"] {
		h.read = h.written["river_job"]
		h.known, err = h.jobs.live()
	}
	return h.known, err
}

func (h *history) move(id int64, from, to string, due time.Time) error {
	h.read = -1
	return h.jobs.move(id, from, to, due)
}

func outcome(err error) string {
	var snooze *river.JobSnoozeError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &snooze):
		return "snoozed for " + snooze.Duration.Round(100*time.Millisecond).String()
	}
	return "failed: " + err.Error()
}

// deliver lets a webhook arrive.
func (h *history) deliver(i int, again bool) error {
	w := h.webhook[i]
	verb := "deliver"
	if again {
		verb = "deliver, and later again,"
	} else {
		h.webhook = slices.Delete(h.webhook, i, i+1)
	}
	r := h.replicas[h.random.IntN(len(h.replicas))]
	h.note("%s %s", verb, w.name)
	h.mutant.arrives(w.body)
	h.spawn("receive "+w.name, 0, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		_, err := r.receiver.Receive(ctx, inbox.Delivery{Scheme: webhooksig.SchemeStrapi, Body: w.body})
		return err
	}, func(t *routine) {
		if (t.err != nil || !t.over) && !h.mutant.early {
			h.note("%s was not acknowledged: %v", w.name, t.err)
			h.lost = true
			return
		}
		h.acked[string(w.body)] = true
	})
	return nil
}

// askReconcile requests a run, as `dealbox sync` does.
func (h *history) askReconcile(extent reconcile.Extent) {
	h.note("ask for a %s reconciliation", extent)
	r := h.replicas[0]
	h.spawn("ask for a reconciliation", 0, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, h.gate, func(tx pgx.Tx) error {
			_, err := r.runs.Request(ctx, tx, reconcile.Request{Extent: extent, Trigger: reconcile.TriggerDemand})
			return err
		})
	}, nil)
}

// tick is the periodic job of each minute, which River inserts by itself.
func (h *history) tick() {
	h.spawn("tick", 0, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, h.gate, func(tx pgx.Tx) error {
			_, err := h.inserter.InsertTx(ctx, tx, reconcile.Args{}, nil)
			return err
		})
	}, nil)
}

func (h *history) probe() {
	r := h.replicas[h.random.IntN(len(h.replicas))]
	h.spawn("probe", 0, func(ctx context.Context) error {
		_, err := r.breaker.Probe(ctx, r.sync.Probe)
		return err
	}, nil)
}

func complete(ctx context.Context, id int64) func(pgx.Tx) error {
	return func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, completeJob, id)
		return err
	}
}
