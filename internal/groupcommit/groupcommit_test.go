package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// gate is a commit that keeps its batches and, when it is shut, waits.
type gate struct {
	mu      sync.Mutex
	batches [][]string
	shut    chan struct{} // nil: open; else commits wait until it is closed
}

func (g *gate) commit(_ context.Context, _ int, items []string) []Result[string] {
	g.mu.Lock()
	g.batches = append(g.batches, items)
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return echo(items)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) taken() [][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([][]string(nil), g.batches...)
}

func echo(items []string) []Result[string] {
	results := make([]Result[string], len(items))
	for i, item := range items {
		results[i].Value = "stored " + item
	}
	return results
}

// got is what one Submit answered.
type got struct {
	value string
	err   error
}

// submit calls Submit for each item from a goroutine of its own, in order. Only
// inside a synctest bubble.
func submit(g *Group[string, string], items ...string) []*got {
	all := make([]*got, len(items))
	for i, item := range items {
		all[i] = &got{err: errors.New("not answered")}
		go func() { all[i].value, all[i].err = g.Submit(context.Background(), item) }()
		synctest.Wait() // it is queued, or answered
	}
	return all
}

func requireStored(t *testing.T, all []*got, items ...string) {
	t.Helper()
	for i, item := range items {
		require.NoError(t, all[i].err)
		require.Equal(t, "stored "+item, all[i].value)
	}
}

func MustClose[T, R any](t *testing.T, g *Group[T, R]) {
	t.Helper()
	require.NoError(t, g.Close(context.Background()))
}

func TestGroup_Submit_AloneWithoutDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{}
		g := New(Config[string]{}, c.commit)
		before := time.Now()
		value, err := g.Submit(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "stored a", value)
		require.Zero(t, time.Since(before), "no timer is waited for")
		require.Equal(t, [][]string{{"a"}}, c.taken())
		MustClose(t, g)
	})
}

func TestGroup_Submit_EverythingWaitingGoesTogetherInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{}, c.commit)
		all := submit(g, "a", "b", "c", "d")
		require.Equal(t, [][]string{{"a"}}, c.taken())
		c.open()
		synctest.Wait()
		require.Equal(t, [][]string{{"a"}, {"b", "c", "d"}}, c.taken())
		requireStored(t, all, "a", "b", "c", "d")
		MustClose(t, g)
	})
}

func TestGroup_Submit_IdleWriterTakesWhatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{Writers: 3}, c.commit)
		all := submit(g, "a", "b", "c", "d", "e")
		require.Equal(t, [][]string{{"a"}, {"b"}, {"c"}}, c.taken(), "nobody waits while a writer is free")
		c.open()
		synctest.Wait()
		requireStored(t, all, "a", "b", "c", "d", "e")
		require.Equal(t, []string{"d", "e"}, c.taken()[3])
		MustClose(t, g)
	})
}

func TestGroup_Submit_MaxItems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{MaxItems: 2}, c.commit)
		all := submit(g, "a", "b", "c", "d", "e", "f")
		c.open()
		synctest.Wait()
		require.Equal(t, [][]string{{"a"}, {"b", "c"}, {"d", "e"}, {"f"}}, c.taken())
		requireStored(t, all, "a", "b", "c", "d", "e", "f")
		MustClose(t, g)
	})
}

func TestGroup_Submit_MaxItemsLeavesTheRestToAnotherWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{Writers: 2, MaxItems: 1}, c.commit)
		submit(g, "a", "b", "c")
		require.Equal(t, [][]string{{"a"}, {"b"}}, c.taken())
		c.open()
		synctest.Wait()
		require.Len(t, c.taken(), 3)
		MustClose(t, g)
	})
}

func TestGroup_Submit_MaxBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{MaxBytes: 10, Size: func(s string) int { return len(s) }}, c.commit)
		big := strings.Repeat("x", 25)
		in := []string{"first", "12345", "67890", "1", big, "abc", big, "last"}
		all := submit(g, in...)
		c.open()
		synctest.Wait()
		require.Equal(t, [][]string{{"first"}, {"12345", "67890"}, {"1"}, {big}, {"abc"}, {big}, {"last"}}, c.taken())
		requireStored(t, all, in...)
		MustClose(t, g)
	})
}

func TestGroup_Submit_Full(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{MaxQueued: 2}, c.commit)
		all := submit(g, "committing", "a", "b")
		before := time.Now()
		_, err := g.Submit(t.Context(), "one too many")
		require.ErrorIs(t, err, ErrFull)
		require.Zero(t, time.Since(before), "it says so at once")
		c.open()
		synctest.Wait()
		requireStored(t, all, "committing", "a", "b")
		requireStored(t, submitAndWait(g, "c"), "c")
		require.Equal(t, [][]string{{"committing"}, {"a", "b"}, {"c"}}, c.taken())
		MustClose(t, g)
	})
}

func submitAndWait(g *Group[string, string], items ...string) []*got {
	all := submit(g, items...)
	synctest.Wait()
	return all
}

func TestGroup_Submit_CallerGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{}, c.commit)
		first := submit(g, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Submit(ctx, "hung up")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "may still be committed")

		_, err = g.Submit(ctx, "never taken")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		second := submit(g, "b")
		c.open()
		synctest.Wait()
		requireStored(t, first, "a")
		requireStored(t, second, "b")
		require.Equal(t, [][]string{{"a"}, {"hung up", "b"}}, c.taken())
		MustClose(t, g)
	})
}

func TestGroup_Submit_ContextOfCommitIsTheGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		g := New(Config[string]{Timeout: 3 * time.Second}, func(ctx context.Context, _ int, _ []string) []Result[string] {
			if ctx.Value(key{}) != nil {
				return nil // a caller's context came through
			}
			<-ctx.Done()
			return []Result[string]{{Err: ctx.Err()}}
		})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "caller"))
		defer cancel()
		before := time.Now()
		_, err := g.Submit(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(before), "Timeout ends one commit")
		_, err = g.Submit(ctx, "b")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 6*time.Second, time.Since(before), "and the next has its own")
		MustClose(t, g)
	})
}

func TestGroup_Submit_EachItsOwnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shut := make(chan struct{})
		bad := errors.New("bad row")
		g := New(Config[string]{}, func(_ context.Context, _ int, items []string) []Result[string] {
			<-shut
			results := echo(items)
			for i, item := range items {
				if item == "bad" {
					results[i] = Result[string]{Err: bad}
				}
			}
			return results
		})
		all := submit(g, "a", "b", "bad", "c")
		close(shut)
		synctest.Wait()
		requireStored(t, all[:2], "a", "b")
		require.ErrorIs(t, all[2].err, bad)
		requireStored(t, all[3:], "c")
		MustClose(t, g)
	})
}

func TestGroup_Submit_CommitMisbehaves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func([]string) []Result[string]
		want string
	}{
		"Panics":          {func([]string) []Result[string] { panic("poison") }, "commit panicked: poison"},
		"PanicsWithNil":   {func([]string) []Result[string] { panic(error(nil)) }, "commit panicked"},
		"ExitsItsRoutine": {func([]string) []Result[string] { runtime.Goexit(); return nil }, "ended its goroutine"},
		"ReturnsTooFew":   {func(in []string) []Result[string] { return echo(in)[1:] }, "returned 2 results for 3 items"},
		"ReturnsTooMany":  {func(in []string) []Result[string] { return append(echo(in), Result[string]{}) }, "returned 4 results for 3 items"},
		"ReturnsNothing":  {func([]string) []Result[string] { return nil }, "returned 0 results for 3 items"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shut := make(chan struct{})
				g := New(Config[string]{}, func(_ context.Context, _ int, items []string) []Result[string] {
					<-shut
					if len(items) == 3 {
						return c.do(items)
					}
					return echo(items)
				})
				all := submit(g, "before", "x", "y", "z")
				close(shut)
				synctest.Wait()
				requireStored(t, all, "before")
				for _, one := range all[1:] {
					require.ErrorContains(t, one.err, c.want)
					require.Empty(t, one.value)
				}
				requireStored(t, submitAndWait(g, "after"), "after")
				MustClose(t, g)
			})
		})
	}
}

func TestGroup_Submit_PanicKeepsTheStack(t *testing.T) {
	t.Parallel()
	g := New(Config[string]{}, func(context.Context, int, []string) []Result[string] { panic(errors.New("poison")) })
	_, err := g.Submit(t.Context(), "a")
	var p *PanicError
	require.ErrorAs(t, err, &p)
	require.Contains(t, string(p.Stack), "TestGroup_Submit_PanicKeepsTheStack")
	MustClose(t, g)
}

func TestGroup_Close(t *testing.T) {
	t.Parallel()

	t.Run("CommitsWhatIsQueued", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := &gate{shut: make(chan struct{})}
			g := New(Config[string]{Writers: 2, MaxItems: 1}, c.commit)
			all := submit(g, "a", "b", "c", "d", "e")
			closed := make(chan error, 2)
			for range 2 { // it may be called twice
				go func() { closed <- g.Close(context.Background()) }()
			}
			synctest.Wait()
			require.Empty(t, closed, "it waits")
			_, err := g.Submit(t.Context(), "late")
			require.ErrorIs(t, err, ErrClosed)
			c.open()
			require.NoError(t, <-closed)
			require.NoError(t, <-closed)
			synctest.Wait()
			requireStored(t, all, "a", "b", "c", "d", "e")
			require.Len(t, c.taken(), 5)
			MustClose(t, g)
		})
	})

	t.Run("Idle", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := New(Config[string]{Writers: 8}, new(gate).commit)
			synctest.Wait()
			MustClose(t, g) // the bubble fails if a writer is left
		})
	})

	t.Run("GivesUpWithItsContext", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			begun := 0
			g := New(Config[string]{MaxItems: 1}, func(ctx context.Context, _ int, _ []string) []Result[string] {
				begun++
				<-ctx.Done()
				return []Result[string]{{Err: ctx.Err()}}
			})
			all := submit(g, "hangs", "a", "b")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, g.Close(ctx), context.DeadlineExceeded)
			synctest.Wait()
			require.ErrorIs(t, all[0].err, context.Canceled, "the commit under way is cancelled")
			require.ErrorIs(t, all[1].err, ErrClosed, "what was queued is answered, not committed")
			require.ErrorIs(t, all[2].err, ErrClosed)
			require.Equal(t, 1, begun)
		})
	})
}

// With a flood of callers nobody is overtaken. Every item is
// committed before any that was queued after it began to wait.
func TestGroup_NobodyIsOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &gate{shut: make(chan struct{})}
		g := New(Config[string]{MaxItems: 7}, c.commit)
		var in []string
		for i := range 100 {
			in = append(in, fmt.Sprint(i))
		}
		submit(g, in...)
		c.open()
		synctest.Wait()
		var out []string
		for _, batch := range c.taken() {
			out = append(out, batch...)
		}
		require.Equal(t, in, out)
		MustClose(t, g)
	})
}

func TestGroup_WritersOfOneNumberNeverOverlap(t *testing.T) {
	t.Parallel()
	var mu [3]sync.Mutex
	g := New(Config[string]{Writers: 3, MaxItems: 2}, func(_ context.Context, writer int, items []string) []Result[string] {
		if !mu[writer].TryLock() {
			panic("two commits of one writer at once")
		}
		defer mu[writer].Unlock()
		runtime.Gosched()
		return echo(items)
	})
	var wg sync.WaitGroup
	errs := make([]error, 500)
	for i := range errs {
		wg.Go(func() { _, errs[i] = g.Submit(context.Background(), "x") })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	MustClose(t, g)
}
