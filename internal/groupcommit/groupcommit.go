// Package groupcommit lets many callers share one commit. A writer that is free
// takes everything that waits and commits it at once, so batches grow with the
// load by themselves. There is no timer: a caller that comes alone is committed
// alone, without delay.
package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors that Submit answers at once. The item was not taken.
var (
	ErrFull   = errors.New("group commit: the queue is full")
	ErrClosed = errors.New("group commit: closed")
)

// Config of a Group. Zero values take the defaults.
type Config[T any] struct {
	// Writers is how many commits run at the same time. Default 1.
	Writers int
	// MaxItems bounds one commit. Default 256.
	MaxItems int
	// MaxBytes bounds the sum of Size over one commit; an item that is larger
	// goes alone. Default 0: no limit.
	MaxBytes int
	// Size of an item in bytes. It is called once an item, by its caller.
	// Needed with MaxBytes.
	Size func(T) int
	// MaxQueued is how many items may wait for a writer; those in a commit do
	// not count. Past it Submit answers ErrFull. Default 4096.
	MaxQueued int
	// Timeout ends the context of each commit. Default 0: none.
	Timeout time.Duration
}

// Result is what commit answers for one item.
type Result[R any] struct {
	Value R
	Err   error
}

// Commit writes items and answers one Result for each, in their order. writer
// counts from 0; commits of the same writer never overlap. ctx belongs to the
// group, not to a caller: it ends by Config.Timeout or when Close gives up.
type Commit[T, R any] func(ctx context.Context, writer int, items []T) []Result[R]

// PanicError is what every caller of a batch gets whose commit panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("group commit: commit panicked: %v", e.Value)
}

// Group takes items from any number of callers and commits them in batches.
type Group[T, R any] struct {
	config Config[T]
	commit Commit[T, R]
	waits  sync.Pool // of *wait[T, R]

	ctx    context.Context //nolint:containedctx // of all commits; Close ends it
	cancel context.CancelFunc
	done   chan struct{} // closed when the last writer has ended

	mu      sync.Mutex
	arrived sync.Cond // an item was queued, or the group was closed
	queue   queue[T, R]
	writers int // writers that have not ended
	closed  bool
}

// New starts the writers. Call Close to end them.
func New[T, R any](config Config[T], commit Commit[T, R]) *Group[T, R] {
	config.Writers = max(config.Writers, 1)
	if config.MaxItems <= 0 {
		config.MaxItems = 256
	}
	if config.MaxQueued <= 0 {
		config.MaxQueued = 4096
	}
	g := &Group[T, R]{config: config, commit: commit, done: make(chan struct{}), writers: config.Writers}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.arrived.L = &g.mu
	g.waits.New = func() any { return &wait[T, R]{done: make(chan Result[R], 1)} }
	for writer := range config.Writers {
		go g.write(writer)
	}
	return g
}

// Submit hands item to the next free writer and answers when it is committed,
// with its own result. Items are taken in the order in which they came.
//
// When ctx ends first, Submit answers at once, and the item may or may not be
// committed: it stays in the queue, because a webhook whose caller hung up is
// still worth keeping. ErrFull and ErrClosed mean that it was not taken.
func (g *Group[T, R]) Submit(ctx context.Context, item T) (R, error) {
	if err := ctx.Err(); err != nil {
		var none R
		return none, fmt.Errorf("group commit: not taken: %w", err)
	}
	w := g.waits.Get().(*wait[T, R])
	w.item = item
	if g.config.Size != nil {
		w.size = g.config.Size(item)
	}
	if err := g.enqueue(w); err != nil {
		g.release(w)
		var none R
		return none, err
	}
	select {
	case r := <-w.done:
		g.release(w)
		return r.Value, r.Err
	case <-ctx.Done():
		return g.abandon(ctx, w)
	}
}

// abandon leaves w to its writer, unless the result has just come.
func (g *Group[T, R]) abandon(ctx context.Context, w *wait[T, R]) (R, error) {
	select {
	case r := <-w.done:
		g.release(w)
		return r.Value, r.Err
	default:
		var none R
		return none, fmt.Errorf("group commit: gave up waiting, the item may still be committed: %w", ctx.Err())
	}
}

// release makes w ready for another caller. Only who received its result, or
// never queued it, may do that.
func (g *Group[T, R]) release(w *wait[T, R]) {
	var none T
	w.item = none
	g.waits.Put(w)
}

func (g *Group[T, R]) enqueue(w *wait[T, R]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.queue.length >= g.config.MaxQueued {
		return ErrFull
	}
	g.queue.push(w)
	g.arrived.Signal()
	return nil
}

// Close refuses new items with ErrClosed, commits what is queued, and waits for
// the writers. When ctx ends first it gives up: commits under way see their
// context cancelled, items still queued are answered with ErrClosed, and Close
// answers ctx's error without waiting further. It may be called several times.
func (g *Group[T, R]) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.arrived.Broadcast()
	g.mu.Unlock()
	select {
	case <-g.done:
		g.cancel()
		return nil
	case <-ctx.Done():
		g.cancel()
		return fmt.Errorf("group commit: closed before everything was committed: %w", ctx.Err())
	}
}
