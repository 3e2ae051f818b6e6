package simulation

import (
	"cmp"
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// scheduler lets one goroutine of a history run at a time. Each stops before
// every statement, COMMIT and request, and after each commit and answer, and
// goes on when it gets a signal. Everything else that a goroutine waits for is a timer,
// and time stands still unless the history lets it pass (testing/synctest).
type scheduler struct {
	random *rand.Rand

	mu      sync.Mutex // goroutines that one moment of time wakes stop together
	stopped []*stop
	// ends counts transactions that ended, and so released their locks.
	ends int
	// commits counts what may have changed the database, written has the last one
	// of each table.
	commits int
	written map[string]int
	// evidence is what Strapi answered and what the breaker counted.
	evidence
}

// signal is how a goroutine goes on.
type signal int

const (
	proceed   signal = iota
	crash            // the process dies here
	fail             // the connection is lost, before anything was done
	ambiguous        // COMMIT is done, but its answer is lost
	victim           // the statement is the victim of a deadlock
	refuse           // Strapi answers 401
	breakDown        // Strapi answers 503
	garble           // Strapi answers 200 and HTML
)

var signalNames = map[signal]string{
	crash: "dies", fail: "loses the connection", ambiguous: "commits, but loses the answer", victim: "is the victim of a deadlock",
	refuse: "gets 401", breakDown: "gets 503", garble: "gets HTML",
}

type point int

const (
	statementPoint point = iota
	commitPoint
	committedPoint
	requestPoint
	answerPoint
)

// stop is a goroutine that waits for its signal.
type stop struct {
	who, where string
	point      point
	tx         *gateTx
	// waitsSince: it waits for a lock, since so many transactions had ended.
	waitsSince int
	signal     chan signal
}

// workerKey is the context's key of the name of who runs.
type workerKey struct{}

// stop parks the goroutine until the history resumes it. A crash ends it here:
// its deferred functions run, but none of ours writes anything.
func (s *scheduler) stop(ctx context.Context, p *stop) signal {
	if who, ok := ctx.Value(workerKey{}).(string); ok {
		p.who = who
	}
	p.signal = make(chan signal)
	s.mu.Lock()
	s.stopped = append(s.stopped, p)
	s.mu.Unlock()
	v := <-p.signal
	if v == crash {
		if p.tx != nil {
			p.tx.lose()
		}
		runtime.Goexit()
	}
	return v
}

// ready are the stops that can go on, in an order that does not depend on how
// they came. waiting are those that wait for a lock which nobody released.
func (s *scheduler) ready() (ready, waiting []*stop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.stopped, func(a, b *stop) int { return cmp.Or(cmp.Compare(a.who, b.who), cmp.Compare(a.where, b.where)) })
	for _, p := range s.stopped {
		switch {
		case p.waitsSince > 0 && p.waitsSince > s.ends:
			waiting = append(waiting, p)
		default:
			ready = append(ready, p)
		}
	}
	return ready, waiting
}

func (s *scheduler) resume(p *stop, v signal) {
	s.mu.Lock()
	s.stopped = slices.DeleteFunc(s.stopped, func(o *stop) bool { return o == p })
	s.mu.Unlock()
	p.signal <- v
}

// chance is true once in n.
func (s *scheduler) chance(n int) bool { return s.random.IntN(n) == 0 }
