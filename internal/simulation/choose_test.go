package simulation

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/reconcile"
)

// workersAtOnce bounds how many jobs run together.
const workersAtOnce = 4

// choose does the next thing of the history, by chance.
func (h *history) choose() error {
	jobs, err := h.live()
	if err != nil {
		return err
	}
	ready, waiting := h.ready()
	due := dueJobs(jobs)
	var options []func() error
	add := func(weight int, when bool, do func() error) {
		for range weight {
			if when {
				options = append(options, do)
			}
		}
	}
	add(12, len(ready) > 0, func() error { return h.resumeOne(ready[h.random.IntN(len(ready))]) })
	add(5, len(due) > 0 && h.working() < workersAtOnce, func() error { return h.startJob(due[h.random.IntN(len(due))]) })
	add(3, len(h.webhook) > 0, func() error {
		if !h.profile.lossless && h.chance(5) {
			return h.lose(h.random.IntN(len(h.webhook)))
		}
		return h.deliver(h.random.IntN(len(h.webhook)), false)
	})
	add(2, h.profile.changes > 0, func() error { h.profile.changes--; return h.change() })
	add(1, true, func() error { return h.upset(jobs) })
	add(4, len(ready) == 0 && len(waiting) > 0, func() error { return h.give(waiting[0], victim) })
	return options[h.random.IntN(len(options))]()
}

func (h *history) working() (n int) {
	for _, t := range h.routines {
		if t.job != 0 {
			n++
		}
	}
	return n
}

func dueJobs(jobs []jobRow) (due []jobRow) {
	for _, j := range jobs {
		if j.State == "available" && !j.Due.After(time.Now()) {
			due = append(due, j)
		}
	}
	return due
}

// faultsAt has what can go wrong at a stop.
var faultsAt = map[point][]signal{
	statementPoint: {crash, fail},
	commitPoint:    {crash, fail, ambiguous},
	committedPoint: {crash},
	requestPoint:   {crash, fail, refuse, breakDown, garble},
	answerPoint:    {crash},
}

// resumeOne resumes a goroutine, now and then with a fault.
func (h *history) resumeOne(p *stop) error {
	v := proceed
	spared := h.calm || h.profile.faults == 0 || h.profile.lossless && strings.HasPrefix(p.who, receiverName)
	if !spared && h.chance(h.profile.faults) {
		of := faultsAt[p.point]
		v = of[h.random.IntN(len(of))]
	}
	return h.give(p, v)
}

func (h *history) give(p *stop, v signal) error {
	if v == proceed {
		h.note("%s: %s", p.who, p.where)
	} else {
		h.note("%s: %s: %s", p.who, p.where, signalNames[v])
	}
	h.resume(p, v)
	return h.quiesce()
}

// passes are how long time may pass at once. Leases, backoff and snoozes end in it.
var passes = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Second, 5 * time.Second, 15 * time.Second, 70 * time.Second,
}

// upset does something that is neither a change of Strapi nor work.
func (h *history) upset(jobs []jobRow) error {
	switch h.random.IntN(12) {
	case 0, 1, 2:
		d := passes[h.random.IntN(len(passes))]
		if h.working() < len(h.routines) {
			d = min(d, time.Second) // Strapi waits 10 s for its answer
		}
		h.pass(d)
	case 3, 4:
		return h.rescue(jobs)
	case 5:
		if len(h.webhook) > 0 {
			return h.deliver(h.random.IntN(len(h.webhook)), true)
		}
	case 6:
		h.probe()
	case 7:
		h.askRecompute()
	case 8:
		h.disturbStrapi()
	case 9:
		h.forceBreaker()
	default:
		if !h.profile.lossless {
			return h.lossy()
		}
	}
	return nil
}

func (h *history) pass(d time.Duration) {
	h.note("%s pass", d)
	time.Sleep(d) //nolint:forbidigo // of the history, not of the test
}

// rescue is River's rescuer: it makes a running job available again, whether its
// worker has died or is only slow.
func (h *history) rescue(jobs []jobRow) error {
	var running []jobRow
	for _, j := range jobs {
		if j.State == "running" {
			running = append(running, j)
		}
	}
	if len(running) == 0 {
		return nil
	}
	j := running[h.random.IntN(len(running))]
	h.note("rescue %s", jobName(j.Args))
	return h.move(j.ID, "running", "available", time.Now())
}

// askRecompute requests a forecast, as an operator does.
func (h *history) askRecompute() {
	r := h.replicas[0]
	h.spawn("ask for a recompute", 0, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, h.gate, func(tx pgx.Tx) error { return r.forecast.Request(ctx, tx) })
	}, nil)
}

func (h *history) disturbStrapi() {
	if h.profile.faults == 0 {
		return
	}
	if h.chance(2) {
		h.outage = !h.outage
		h.note("Strapi is away: %v", h.outage)
		return
	}
	if len(h.documents) == 0 {
		return
	}
	id := h.documents[h.random.IntN(len(h.documents))].DocumentID
	status := []int{http.StatusInternalServerError, http.StatusInternalServerError, http.StatusNotFound}[h.random.IntN(3)]
	if h.poisoned[id] != 0 {
		delete(h.poisoned, id)
		h.note("Strapi answers %s as it should", id)
		return
	}
	h.poisoned[id] = status
	h.note("Strapi answers %d for %s, and lists it", status, id)
}

func (h *history) forceBreaker() {
	if h.profile.faults == 0 {
		return
	}
	b := h.replicas[0].breaker
	how := []struct {
		name string
		do   func(context.Context) error
	}{
		{"open", func(ctx context.Context) error { _, err := b.ForceOpen(ctx, "operator", "test"); return err }},
		{"closed", func(ctx context.Context) error { _, err := b.ForceClose(ctx, "operator", "test"); return err }},
		{"to its own decision", func(ctx context.Context) error { return b.Reset(ctx, "operator", "test") }},
		{"to its own decision", func(ctx context.Context) error { return b.Reset(ctx, "operator", "test") }},
	}[h.random.IntN(4)]
	h.note("an operator sets the breaker %s", how.name)
	h.spawn("operator", 0, how.do, nil)
}

// lossy is what only a reconciliation repairs, and reconciliation itself.
func (h *history) lossy() error {
	switch h.random.IntN(5) {
	case 0:
		h.askReconcile(reconcile.Delta)
	case 1:
		h.askReconcile(reconcile.Full)
	case 2:
		h.tick()
	case 3:
		return h.silentChange()
	case 4:
		return h.oddity()
	}
	return nil
}

// lose takes away a webhook: Strapi does not send it again.
func (h *history) lose(i int) error {
	h.note("lose %s", h.webhook[i].name)
	h.webhook = slices.Delete(h.webhook, i, i+1)
	h.lost = true
	return nil
}

// end heals everything, drains what is left, and checks the promises. In every other
// history poisoned documents heal only then, as dead letters. The reconciliation
// comes an hour later: what it repairs may be a swing of the forecast.
func (h *history) end() error {
	if h.chance(2) {
		clear(h.poisoned)
	}
	h.healOne(fakestrapi.DealUID)
	h.healOne(fakestrapi.BillingUID)
	h.note("everything heals but for %d documents", len(h.poisoned))
	h.calm, h.outage = true, false
	h.resetBreaker()
	if err := h.drain(); err != nil {
		return err
	}
	if err := h.watch.atRest(h, !h.lost && len(h.poisoned) == 0, false); err != nil {
		return err
	}
	// Also here: later changes mark the forecast again, whatever was forgotten before.
	if err := h.watch.forecastFromNothing(h); err != nil {
		return err
	}
	clear(h.poisoned)
	h.pass(time.Hour)
	if err := h.withOddRows(); err != nil {
		return err
	}
	h.restless, h.eventful = maxRestless, true
	h.askReconcile(reconcile.Full)
	if err := h.drain(); err != nil {
		return err
	}
	h.restless, h.eventful = 0, false
	if err := h.watch.atRest(h, true, true); err != nil {
		return fmt.Errorf("after one reconciliation: %w", err)
	}
	if err := h.onceMore(); err != nil {
		return err
	}
	return h.watch.forecastFromNothing(h)
}

// withOddRows reconciles while Strapi lists rows that are no documents, if it does or by
// chance, and has lost a document of the same type: that must not be found to be gone. Then
// it removes those rows.
func (h *history) withOddRows() error {
	if !h.oddRows && !h.chance(4) {
		return nil
	}
	if !h.oddRows {
		if err := h.addOddRow(fakestrapi.DealUID); err != nil {
			return err
		}
	}
	for _, d := range h.documents {
		if h.odd[d.UID] && !d.states[len(d.states)-1].deleted {
			h.note("Strapi: delete %s silently", d.DocumentID)
			if err := h.fake.SilentDelete(d.UID, d.DocumentID); err != nil {
				return err
			}
			h.noteStates()
			break
		}
	}
	before, err := h.facts.ghosts()
	if err != nil {
		return err
	}
	h.askReconcile(reconcile.Full)
	if err := h.drain(); err != nil {
		return err
	}
	after, err := h.facts.ghosts()
	if err != nil {
		return err
	}
	for _, key := range after[len(before):] {
		if h.odd[key.UID] {
			return violated("no deletion beside an odd row", "%s was found to be gone", key)
		}
	}
	return h.removeOddRows()
}

// onceMore reconciles a mirror that is in step while a document is published twice, by
// chance: that must find nothing.
func (h *history) onceMore() error {
	if len(h.poisoned) > 0 || !h.twins && !h.chance(4) {
		return nil // documents that fail are not in step
	}
	for _, id := range h.alive(fakestrapi.DealUID) {
		if err := h.publishTwice(fakestrapi.DealUID, id); err != nil {
			return err
		}
	}
	before, err := h.facts.differences()
	if err != nil {
		return err
	}
	h.askReconcile(reconcile.Full)
	if err := h.drain(); err != nil {
		return err
	}
	after, err := h.facts.differences()
	if err == nil && after != before {
		err = violated("in step is in step", "a full reconciliation of a mirror in step found %d differences", after-before)
	}
	return err
}

// healOne makes one document of a type well where all are poisoned: they would wait
// for it, because it is Strapi that answers no document then.
func (h *history) healOne(uid string) {
	ids := h.alive(uid)
	if len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return h.poisoned[id] == 0 }) {
		delete(h.poisoned, ids[0])
	}
}

// maxDrainSteps is how many steps it may take until nothing is left to be done.
const maxDrainSteps = 20_000

// drain goes on until nothing is left to be done.
func (h *history) drain() error {
	for range maxDrainSteps {
		if err := h.quiesce(); err != nil {
			return err
		}
		if h.eventful {
			time.Sleep(time.Millisecond) //nolint:forbidigo // of the history, not of the test
		}
		done, err := h.drainStep()
		if done || err != nil {
			return err
		}
	}
	return violated("progress", "not at rest after %d steps", maxDrainSteps)
}

func (h *history) drainStep() (done bool, err error) {
	jobs, err := h.live()
	if err != nil {
		return false, err
	}
	ready, waiting := h.ready()
	if d := h.underWay(ready); d != nil && h.saves < maxSaves && h.chance(8) {
		h.saves++
		return false, h.saveAgain(d)
	}
	if h.restless > 0 && h.chance(12) {
		h.restless--
		return false, h.disturbList()
	}
	due := dueJobs(jobs)
	switch {
	case len(ready) > 0 && !h.chance(4):
		return false, h.give(ready[h.random.IntN(len(ready))], proceed)
	case len(h.webhook) > 0:
		return false, h.deliver(h.random.IntN(len(h.webhook)), false)
	case len(due) > 0 && h.working() < workersAtOnce:
		return false, h.startJob(due[h.random.IntN(len(due))])
	case len(ready) > 0:
		return false, h.give(ready[0], proceed)
	case len(waiting) > 0:
		return false, h.give(waiting[0], victim)
	case len(h.routines) == 0 && len(jobs) == 0:
		return h.reconciled()
	}
	h.pass(h.untilNext(jobs))
	return false, h.upkeep(jobs)
}

// maxRestless is how often Strapi changes during the last reconciliation.
const maxRestless = 3

// maxSaves is how often poisoned documents are saved while the history drains.
const maxSaves = 3

// underWay is a poisoned document about which Strapi is being asked.
func (h *history) underWay(ready []*stop) *document {
	for _, d := range h.documents {
		asked := func(p *stop) bool { return strings.HasSuffix(p.where, "/"+d.DocumentID) }
		if h.poisoned[d.DocumentID] != 0 && !d.states[len(d.states)-1].deleted && slices.ContainsFunc(ready, asked) {
			return d
		}
	}
	return nil
}

// saveAgain is an editor who tries to put a poisoned document right. It does not
// help, but Strapi must be asked once more, and the new event must not die with the
// attempt before it.
func (h *history) saveAgain(d *document) error {
	h.changed++
	attribute := map[string]string{fakestrapi.DealUID: "name", fakestrapi.BillingUID: "billing_id"}[d.UID]
	err := h.update(d.UID, d.DocumentID, fakestrapi.Values{attribute: fmt.Sprint("v", h.changed)})
	h.noteStates()
	return err
}

// reconciled reports whether no reconciliation is open. One whose runner died goes on
// with the periodic job when the lease has ended.
func (h *history) reconciled() (bool, error) {
	open, err := h.facts.openRuns()
	if err != nil || open == 0 {
		return true, err
	}
	h.pass(time.Minute)
	h.tick()
	return false, nil
}

// upkeep is what River's rescuer and the prober do now and then.
func (h *history) upkeep(jobs []jobRow) error {
	for _, j := range jobs {
		if j.State == "running" && !h.works(j.ID) {
			h.note("rescue %s", jobName(j.Args))
			if err := h.move(j.ID, "running", "available", time.Now()); err != nil {
				return err
			}
		}
	}
	state, forced, err := h.facts.breaker()
	switch {
	case err != nil || state == "closed":
		return err
	case forced: // by an operator whose word came late
		h.resetBreaker()
	default:
		h.probe()
	}
	return nil
}

func (h *history) resetBreaker() {
	h.spawn("operator", 0, func(ctx context.Context) error { return h.replicas[0].breaker.Reset(ctx, "operator", "healed") }, nil)
}

func (h *history) works(job int64) bool {
	for _, t := range h.routines {
		if t.job == job {
			return true
		}
	}
	return false
}

// untilNext is how long nothing can happen, at most so long that leases end, too.
func (h *history) untilNext(jobs []jobRow) time.Duration {
	wait := time.Minute
	if len(h.routines) > 0 {
		wait = 100 * time.Millisecond // somebody sleeps
	}
	for _, j := range jobs {
		if j.State == "available" {
			wait = min(wait, max(time.Until(j.Due), time.Millisecond))
		}
	}
	return wait
}
