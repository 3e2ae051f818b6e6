package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// errExited: commit called runtime.Goexit, as a failing test does.
var errExited = errors.New("group commit: commit ended its goroutine")

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
		batch, ok := g.next()
		if !ok {
			finished = true
			return
		}
		g.serve(writer, batch)
	}
}

// next waits for items and takes a batch. False: there will be none.
func (g *Group[T, R]) next() (queue[T, R], bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.queue.length == 0 {
		if g.closed {
			g.leave()
			return queue[T, R]{}, false
		}
		g.arrived.Wait()
	}
	return g.queue.take(g.config.MaxItems, g.config.MaxBytes), true
}

func (g *Group[T, R]) leave() {
	g.writers--
	if g.writers == 0 {
		close(g.done)
	}
}

// serve commits a batch and answers everybody in it, whatever commit does.
func (g *Group[T, R]) serve(writer int, batch queue[T, R]) {
	var results []Result[R]
	err := errExited
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
		answer(batch, results, err)
	}()
	results, err = g.run(writer, items(batch))
}

func (g *Group[T, R]) run(writer int, items []T) ([]Result[R], error) {
	ctx := g.ctx
	if ctx.Err() != nil {
		return nil, ErrClosed // Close gave up: nothing more is begun
	}
	if g.config.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.config.Timeout)
		defer cancel()
	}
	results := g.commit(ctx, writer, items)
	if len(results) != len(items) {
		return nil, fmt.Errorf("group commit: commit answered %d results for %d items; what it wrote is unknown",
			len(results), len(items))
	}
	return results, nil
}

func items[T, R any](batch queue[T, R]) []T {
	all := make([]T, 0, batch.length)
	for w := batch.head; w != nil; w = w.next {
		all = append(all, w.item)
	}
	return all
}

// answer gives each caller its result, or err to all.
func answer[T, R any](batch queue[T, R], results []Result[R], err error) {
	for i := 0; batch.length > 0; i++ {
		// Popped before it is answered: its caller may use it anew at once.
		w := batch.pop()
		if err != nil {
			w.done <- Result[R]{Err: err}
		} else {
			w.done <- results[i]
		}
	}
}
