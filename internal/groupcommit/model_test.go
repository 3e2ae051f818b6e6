package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// order is one caller's item in the model.
type order struct {
	id     int
	size   int
	hangUp bool // its caller's context ends while it waits
}

// ledger is a commit that writes down what it was given and checks the limits.
type ledger struct {
	maxItems, maxBytes int
	panicEvery         int // 0: never

	mu      sync.Mutex
	times   map[int]int // commits of each id, panicked ones too
	commits int
	broken  []string
}

var errOdd = errors.New("odd ids are refused")

func (l *ledger) commit(_ context.Context, _ int, items []order) []Result[int] {
	runtime.Gosched() // let others queue up
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes := 0
	for _, o := range items {
		l.times[o.id]++
		bytes += o.size
	}
	if len(items) == 0 || len(items) > l.maxItems || (bytes > l.maxBytes && len(items) > 1) {
		l.broken = append(l.broken, fmt.Sprintf("%d items of %d bytes", len(items), bytes))
	}
	l.commits++
	if l.panicEvery > 0 && l.commits%l.panicEvery == 0 {
		panic("every now and then")
	}
	results := make([]Result[int], len(items))
	for i, o := range items {
		results[i].Value = o.id * 10
		if o.id%2 == 1 {
			results[i] = Result[int]{Err: errOdd}
		}
	}
	return results
}

// TestGroup_EachItsOwnResultExactlyOnce: whatever the limits, the callers and
// the failures, a caller that gets a result gets its own, and an item is
// committed once, or at most once if it was refused or its caller hung up.
func TestGroup_EachItsOwnResultExactlyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{
			times: map[int]int{}, maxItems: rapid.IntRange(1, 20).Draw(t, "maxItems"),
			maxBytes: rapid.IntRange(1, 100).Draw(t, "maxBytes"), panicEvery: rapid.IntRange(0, 5).Draw(t, "panicEvery"),
		}
		g := New(Config[order]{
			Writers: rapid.IntRange(1, 4).Draw(t, "writers"), MaxItems: l.maxItems, MaxBytes: l.maxBytes,
			MaxQueued: rapid.IntRange(1, 60).Draw(t, "maxQueued"), Size: func(o order) int { return o.size },
		}, l.commit)
		callers := rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) order {
			return order{size: rapid.IntRange(0, 120).Draw(t, "size"), hangUp: rapid.IntRange(0, 9).Draw(t, "hangUp") == 0}
		}), 0, 10), 1, 30).Draw(t, "callers")

		answers := make(chan string, 30*10)
		returned := sync.Map{} // id -> error that Submit returned
		var wg sync.WaitGroup
		for c, orders := range callers {
			wg.Go(func() {
				for i, o := range orders {
					o.id = c*100 + i
					value, err := place(g, o)
					returned.Store(o.id, errorOf(err))
					if wrong(o, value, err) {
						answers <- fmt.Sprintf("item %d got %d, %v", o.id, value, err)
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, g.Close(context.Background()))
		close(answers)
		for a := range answers {
			t.Error(a)
		}
		require.Empty(t, l.broken)
		returned.Range(func(id, err any) bool {
			l.check(t, id.(int), err.(error))
			return true
		})
	})
}

func place(g *Group[order, int], o order) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if o.hangUp {
		go cancel()
	}
	return g.Submit(ctx, o)
}

var errNone = errors.New("no error")

func errorOf(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// wrong reports whether a result cannot be this item's.
func wrong(o order, value int, err error) bool {
	if err == nil {
		return value != o.id*10 || o.id%2 == 1
	}
	var p *PanicError
	own := (errors.Is(err, errOdd) && o.id%2 == 1) || errors.As(err, &p) || errors.Is(err, ErrFull) ||
		(errors.Is(err, context.Canceled) && o.hangUp)
	return value != 0 || !own
}

func (l *ledger) check(t *rapid.T, id int, err error) {
	switch times := l.times[id]; {
	case errors.Is(err, ErrFull):
		require.Zero(t, times, "item %d was refused, and committed", id)
	case errors.Is(err, context.Canceled):
		require.LessOrEqual(t, times, 1, "item %d", id)
	default:
		require.Equal(t, 1, times, "item %d, got %v", id, err)
	}
}
