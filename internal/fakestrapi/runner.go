package fakestrapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// concurrency is how many webhook jobs Strapi's runner works at a time.
const concurrency = 5

// job is one event in the queue. The webhooks that want it get it one after
// the other.
type job struct {
	event, model, uid, documentID string
	entry                         json.RawMessage // nil for trigger-test
}

// RunnerStats counts webhook jobs and POSTs.
type RunnerStats struct {
	Queued    int // events that entered the queue
	Dropped   int // events that DropNext or DropFraction took
	Held      int // events that Hold keeps
	Lost      int // events that Close or LoseQueue took from the queue
	Sent      int // POSTs made
	Succeeded int // POSTs answered 2xx
	Failed    int // POSTs refused, answered otherwise, timed out or broken
}

// Runner is Strapi's webhook runner: a queue in memory, first in, first out,
// five at a time, one attempt each. An event that fails or is still queued at the end is
// lost without a trace.
type Runner struct {
	client    *http.Client
	timeout   time.Duration
	jitter    time.Duration
	keep      int
	now       func() time.Time
	chance    *chance
	logger    *slog.Logger
	ctx       context.Context //nolint:containedctx // it lives as long as the runner and ends with it
	cancel    context.CancelFunc
	running   sync.WaitGroup
	mu        sync.Mutex
	webhooks  []Webhook
	queue     []job
	inFlight  int
	paused    bool
	closed    bool
	dropNext  int
	dropPart  float64
	holds     []*Held
	stats     RunnerStats
	delivered []Delivery
	changed   chan struct{} // closed when anything above has changed
}

func newRunner(c Config, chance *chance) *Runner {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runner{
		client: newClient(c.WebhookTransport), timeout: c.WebhookTimeout, jitter: c.WebhookJitter, keep: c.KeepDeliveries,
		now: c.Now, chance: chance, logger: c.Logger, ctx: ctx, cancel: cancel,
		webhooks: c.Webhooks, changed: make(chan struct{}),
	}
}

// SetWebhooks replaces the webhooks; deliveries under way are not changed.
func (r *Runner) SetWebhooks(webhooks ...Webhook) error {
	if err := webhooksError(checkWebhooks(webhooks)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.webhooks = webhooks
	return nil
}

// Pause keeps everything in the queue; what is under way is finished.
func (r *Runner) Pause() { r.update(func() { r.paused = true }) }

// Resume sends what Pause has kept.
func (r *Runner) Resume() { r.update(func() { r.paused = false }) }

// DropNext loses the next n events, as a crash between commit and sending does.
func (r *Runner) DropNext(n int) { r.update(func() { r.dropNext = n }) }

// DropFraction loses each event with the given probability, from now on.
func (r *Runner) DropFraction(p float64) { r.update(func() { r.dropPart = p }) }

// LoseQueue empties the queue, as a restart does, and returns how many events it had.
func (r *Runner) LoseQueue() int {
	var lost int
	r.update(func() { lost = r.lose() })
	return lost
}

// Stats returns the counts since the start.
func (r *Runner) Stats() RunnerStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// QueueLength returns how many events wait; those under way are not counted.
func (r *Runner) QueueLength() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// Drain waits until the queue is empty and nothing is under way. What is held
// back does not count. It returns ctx's error when that comes first.
func (r *Runner) Drain(ctx context.Context) error {
	for {
		r.mu.Lock()
		idle, changed := len(r.queue) == 0 && r.inFlight == 0, r.changed
		r.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close loses the queue, breaks off what is under way and waits for that.
func (r *Runner) close() {
	r.update(func() {
		r.closed = true
		r.lose()
	})
	r.cancel()
	r.running.Wait()
	r.client.CloseIdleConnections()
}

func (r *Runner) lose() int {
	lost := len(r.queue)
	r.stats.Lost += lost
	r.queue = nil
	return lost
}

func (r *Runner) enqueue(j job) {
	r.update(func() {
		switch {
		case r.closed:
			r.stats.Lost++
		case r.drops():
			r.stats.Dropped++
		case r.holdBack(j):
			r.stats.Held++
		default:
			r.stats.Queued++
			r.queue = append(r.queue, j)
		}
	})
}

func (r *Runner) drops() bool {
	if r.dropNext > 0 {
		r.dropNext--
		return true
	}
	return r.dropPart > 0 && r.chance.below(r.dropPart)
}

// update changes the runner's state, then starts what can be started.
func (r *Runner) update(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	r.dispatch()
	close(r.changed)
	r.changed = make(chan struct{})
}

// dispatch starts jobs from the front of the queue.
func (r *Runner) dispatch() {
	for !r.paused && !r.closed && r.inFlight < concurrency && len(r.queue) > 0 {
		j := r.queue[0]
		r.queue[0] = job{}
		r.queue = r.queue[1:]
		r.inFlight++
		webhooks, at := r.webhooks, r.now() // now, because goroutines start in any order
		r.running.Go(func() { r.work(j, webhooks, at) })
	}
}

// work sends one event to its webhooks, one after the other. The first is sent
// at the given moment: jitter is the network's, which comes after it.
func (r *Runner) work(j job, webhooks []Webhook, at time.Time) {
	if sleep(r.ctx, r.chance.upTo(r.jitter)) {
		for _, w := range webhooks {
			if w.wants(j.event) {
				r.record(r.deliver(r.ctx, w, j, at))
				at = r.now()
			}
		}
	}
	r.update(func() { r.inFlight-- })
}
