// Package groupcommit lets many callers share one commit. A writer that is free
// takes everything that waits and commits it at once, so batches grow with the
// load by themselves. There is no timer: a caller that comes alone is committed
// alone, without delay.
package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Errors that Submit returns at once: the group did not take the item.
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
	// not count. Past it Submit returns ErrFull. Default 4096.
	MaxQueued int
	// Timeout ends the context of each commit. Default 0: none.
	Timeout time.Duration
}

// Result is what a Commit returns for one item.
type Result[R any] struct {
	Value R
	Err   error
}

// Commit writes items and returns one Result for each, in their order. writer
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

	ctx    context.Context //nolint:containedctx // of all commits; Close ends it
	cancel context.CancelFunc
	done   chan struct{} // closed when the last writer has ended

	mu      sync.Mutex
	arrived sync.Cond // an item was queued, or the group was closed
	queue   []*wait[T, R]
	writers int // writers that have not ended
	closed  bool
}

// wait is one caller's item, and the channel of its result.
type wait[T, R any] struct {
	item T
	size int
	done chan Result[R] // holds one: a writer never waits for a caller
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
	for writer := range config.Writers {
		go g.write(writer)
	}
	return g
}

// Submit hands item to the next free writer and returns when it is committed,
// with its own result. Writers take items in the order in which they came.
//
// When ctx ends first, Submit returns at once, and the item may or may not be
// committed: it stays in the queue, because a webhook whose caller hung up is
// still worth keeping. ErrFull and ErrClosed mean that it was not taken.
func (g *Group[T, R]) Submit(ctx context.Context, item T) (R, error) {
	var none R
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("group commit: not taken: %w", err)
	}
	w := &wait[T, R]{item: item, done: make(chan Result[R], 1)}
	if g.config.Size != nil {
		w.size = g.config.Size(item)
	}
	if err := g.enqueue(w); err != nil {
		return none, err
	}
	select {
	case r := <-w.done:
		return r.Value, r.Err
	case <-ctx.Done():
	}
	select {
	case r := <-w.done: // it came in the same moment
		return r.Value, r.Err
	default:
		return none, fmt.Errorf("group commit: gave up waiting, the item may still be committed: %w", ctx.Err())
	}
}

func (g *Group[T, R]) enqueue(w *wait[T, R]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if len(g.queue) >= g.config.MaxQueued {
		return ErrFull
	}
	g.queue = append(g.queue, w)
	g.arrived.Signal()
	return nil
}

// write commits batch after batch until the group is closed and the queue is
// empty. A writer whose goroutine is ended under it is replaced.
func (g *Group[T, R]) write(writer int) {
	finished := false
	defer func() {
		if !finished {
			go g.write(writer)
		}
	}()
	for {
		batch := g.next()
		if batch == nil {
			finished = true
			return
		}
		g.serve(writer, batch)
	}
}

// next waits for items and takes a batch. It returns nil when there will be none.
func (g *Group[T, R]) next() []*wait[T, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.queue) == 0 {
		if g.closed {
			if g.writers--; g.writers == 0 {
				close(g.done)
			}
			return nil
		}
		g.arrived.Wait()
	}
	n := g.batchLength()
	batch := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	return batch
}

// batchLength returns how many of the queue's first items stay within both limits.
// The first one always goes, so one above MaxBytes goes alone.
func (g *Group[T, R]) batchLength() int {
	bytes := 0
	for i, w := range g.queue {
		bytes += w.size
		if i == g.config.MaxItems || i > 0 && g.config.MaxBytes > 0 && bytes > g.config.MaxBytes {
			return i
		}
	}
	return len(g.queue)
}

// errExited: commit called runtime.Goexit, as a failing test does.
var errExited = errors.New("group commit: commit ended its goroutine")

// serve commits a batch and gives each caller in it its result, or one error to
// all, whatever commit does.
func (g *Group[T, R]) serve(writer int, batch []*wait[T, R]) {
	var results []Result[R]
	err := errExited
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
		for i, w := range batch {
			if err != nil {
				w.done <- Result[R]{Err: err}
			} else {
				w.done <- results[i]
			}
		}
	}()
	results, err = g.run(writer, batch)
}

func (g *Group[T, R]) run(writer int, batch []*wait[T, R]) ([]Result[R], error) {
	ctx := g.ctx
	if ctx.Err() != nil {
		return nil, ErrClosed // Close gave up: nothing more is begun
	}
	if g.config.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.config.Timeout)
		defer cancel()
	}
	items := make([]T, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	results := g.commit(ctx, writer, items)
	if len(results) != len(items) {
		return nil, fmt.Errorf("group commit: commit returned %d results for %d items; what it wrote is unknown",
			len(results), len(items))
	}
	return results, nil
}

// Close refuses new items with ErrClosed, commits what is queued, and waits for
// the writers. When ctx ends first it gives up: it cancels the context of the
// commits under way, the writers refuse what is still queued with ErrClosed, and
// Close returns ctx's error without waiting further. It may be called several times.
func (g *Group[T, R]) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.arrived.Broadcast()
	g.mu.Unlock()
	defer g.cancel()
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("group commit: closed before everything was committed: %w", ctx.Err())
	}
}
