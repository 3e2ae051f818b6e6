// Package simulation runs the workers of production over Postgres in histories that
// chance makes up, and checks that Dealbox's promises hold. It consists of tests only.
//
//   - scheduler_test.go, gate_test.go: who runs next, and what goes wrong for whom
//   - postgres*_test.go: the database, its clock and its locks
//   - env_test.go, river_test.go, strapi_test.go: Dealbox, its jobs and its Strapi
//   - history_test.go, choose_test.go: what happens
//   - promises_test.go: what must hold
//   - mutants_test.go: wrong protocols, each of which must be noticed
package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/jobs"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) {
	// Histories leave much garbage and keep little: half of the time was collecting it.
	debug.SetGCPercent(800)
	pgtest.Main(m)
}

// profileOf decides what may happen in a history.
func profileOf(random *rand.Rand) profile {
	return profile{
		drafts: random.IntN(2) == 0, lossless: random.IntN(2) == 0,
		faults: []int{0, 20, 60}[random.IntN(3)], changes: 4 + random.IntN(10),
		deals: 1 + random.IntN(3), billings: random.IntN(5),
	}
}

// simulate runs the history of a seed.
func simulate(t *testing.T, db *postgres, seed uint64, m *mutant) (h *history, err error) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, db.empty())
		h, err = newHistory(seed, db, m)
		require.NoError(t, err)
		defer h.close()
		err = h.run()
	})
	return h, err
}

func newHistory(seed uint64, db *postgres, m *mutant) (*history, error) {
	client, err := jobs.NewInserter(nil, nil, nil)
	if err != nil {
		return nil, err
	}
	s := &scheduler{random: rand.New(rand.NewPCG(seed, 0)), written: map[string]int{}, evidence: newEvidence()}
	h := &history{
		profile: profileOf(s.random), inserter: client, jobs: db, facts: postgresFacts{db},
		watch: newWatch(), acked: map[string]bool{}, started: time.Now(),
	}
	if m.hot {
		h.profile.deals, h.profile.billings, h.profile.lossless, h.profile.faults = 1, 0, true, 0
	}
	if m.brief {
		h.profile.changes = 2 + h.profile.changes%2
	}
	if m.ill != 0 {
		h.profile.faults = 60
	}
	if m.unique != nil {
		h.inserter = uniqueInserter{client, river.InsertOpts{UniqueOpts: *m.unique}}
	}
	h.env, err = newEnv(s, &gate{scheduler: s, db: db, mutant: m}, h.inserter, h.profile.drafts, seed, m)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, err
}

// close ends every goroutine: who sleeps sees its context end, who is stopped dies.
func (h *history) close() {
	h.cancel()
	for {
		synctest.Wait()
		ready, waiting := h.ready()
		stopped := slices.Concat(ready, waiting)
		if len(stopped) == 0 {
			break
		}
		h.resume(stopped[0], crash)
	}
	for _, r := range h.replicas {
		_ = r.receiver.Close(context.Background())
	}
	_ = h.fake.Close()
}

const (
	// histories is what a test run tries.
	histories = 100
	// repeated is how many of them are run twice.
	repeated = 10
	// mutantSeeds is how many histories a mutant may survive.
	mutantSeeds = 1000
)

// seeds returns those to try: SEED is one of them alone, SEEDS how many.
func seeds(t *testing.T) (first uint64, n int) {
	t.Helper()
	number := func(name string) int {
		n, err := strconv.Atoi(os.Getenv(name))
		require.NoError(t, err, "%s is a number", name)
		return n
	}
	switch {
	case os.Getenv("SEED") != "":
		return uint64(number("SEED")), 1
	case os.Getenv("SEEDS") != "":
		return 1, number("SEEDS")
	}
	return 1, histories
}

// replayed reports whether somebody wants to read the history of one seed.
func replayed() bool { return os.Getenv("SEED") != "" }

// eachSeed runs a history for each seed, on as many cores as there are.
func eachSeed(t *testing.T, first uint64, n int, run func(*testing.T, *postgres, uint64)) {
	t.Helper()
	var next, done atomic.Int64
	watch := time.AfterFunc(time.Hour, func() {})
	if os.Getenv("SEEDS") != "" {
		watch = time.AfterFunc(progressEvery, func() {
			fmt.Fprintf(os.Stderr, "%d of %d histories\n", done.Load(), n)
			watch.Reset(progressEvery)
		})
	}
	defer watch.Stop()
	t.Run("histories", func(t *testing.T) {
		for worker := range min(runtime.GOMAXPROCS(0), n) {
			db := newPostgres(t)
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
					run(t, db, first+uint64(i)-1)
					done.Add(1)
				}
			})
		}
	})
	t.Logf("%d histories from seed %d on, no promise broken", done.Load(), first)
}

const progressEvery = 5 * time.Second

// report fails with the whole story of a history that broke a promise.
func report(t *testing.T, seed uint64, h *history, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("seed %d broke a promise: %s\nagain with: make simulate SEED=%d\n%s", seed, h.names.in(err.Error()), seed, h.story())
	}
	if replayed() {
		t.Logf("seed %d broke no promise\n%s", seed, h.story())
	}
}

func TestSimulation(t *testing.T) {
	first, n := seeds(t)
	eachSeed(t, first, n, func(t *testing.T, db *postgres, seed uint64) {
		h, err := simulate(t, db, seed, right())
		report(t, seed, h, err)
	})
}

func TestSimulation_SameSeedSameHistory(t *testing.T) {
	eachSeed(t, 1, repeated, func(t *testing.T, db *postgres, seed uint64) {
		one, err := simulate(t, db, seed, right())
		require.NoError(t, err)
		two, err := simulate(t, db, seed, right())
		require.NoError(t, err)
		require.Equal(t, withoutIDs(one.story()), withoutIDs(two.story()), "seed %d", seed)
	})
}

var rowID = regexp.MustCompile(`\b(alert|reconciliation) \d+`)

// withoutIDs takes ids of rows out of errors: sequences go on from history to history.
func withoutIDs(story string) string { return rowID.ReplaceAllString(story, "$1 …") }

// Each wrong protocol breaks a promise, or the simulation proves nothing.
func TestSimulation_Mutants(t *testing.T) {
	if replayed() {
		t.Skip("one seed is replayed")
	}
	lanes := make(chan *postgres, runtime.GOMAXPROCS(0))
	for range cap(lanes) {
		lanes <- newPostgres(t)
	}
	try := func(t *testing.T, seed uint64, m *mutant) error {
		db := <-lanes
		defer func() { lanes <- db }()
		_, err := simulate(t, db, seed, m)
		return err
	}
	for i, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			seed, err := uint64(0), error(nil)
			for err == nil && seed < mutantSeeds {
				seed++
				err = try(t, seed, mutants()[i])
			}
			var broken violation
			require.ErrorAs(t, err, &broken, "survived %d histories", seed)
			t.Logf("| %s | %d | %s |", m.name, seed, broken.promise)
		})
	}
}
