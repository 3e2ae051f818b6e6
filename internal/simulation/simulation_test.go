// Package simulation runs the workers of production in histories that chance
// makes up, and sees whether Dealbox's promises hold. It consists of tests only.
//
//   - scheduler_test.go, gate_test.go: who runs next, and what goes wrong for whom
//   - memory*_test.go, postgres*_test.go: the two databases
//   - house_test.go, river_test.go, strapi_test.go: Dealbox, its jobs and its Strapi
//   - history_test.go, choose_test.go: what happens
//   - promises_test.go: what must hold
//   - mutants_test.go: wrong protocols, each of which must be noticed
package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// inMemory runs the history of a seed over the memory. oneByOne lets only one
// transaction be open, as over Postgres.
func inMemory(t *testing.T, seed uint64, m *mutant, oneByOne bool) (h *history, err error) {
	synctest.Test(t, func(*testing.T) {
		db := newMemory()
		for name, s := range m.statements {
			db.replaced[name] = s
		}
		h, err = newHistory(seed, db, memoryInserter{}, m, oneByOne)
		if err != nil {
			return
		}
		h.jobs, h.facts = db, memoryFacts{db}
		defer h.close()
		err = h.run()
	})
	return h, err
}

// overPostgres runs the history of a seed over Postgres, with River's own jobs.
func overPostgres(t *testing.T, db *postgres, seed uint64) (h *history, err error) {
	synctest.Test(t, func(*testing.T) {
		if err = db.empty(); err != nil {
			return
		}
		client, failed := jobs.NewInserter(nil, nil, nil)
		require.NoError(t, failed)
		if h, err = newHistory(seed, db, client, right(), true); err != nil {
			return
		}
		h.jobs, h.facts = db, postgresFacts{db}
		defer h.close()
		err = h.run()
	})
	return h, err
}

func newHistory(seed uint64, db backend, jobs inserter, m *mutant, oneByOne bool) (*history, error) {
	s := &scheduler{random: rand.New(rand.NewPCG(seed, 0))}
	h := &history{profile: profileOf(s.random), inserter: jobs, watch: newWatch(), acked: map[string]bool{}, started: time.Now()}
	var err error
	h.env, err = newEnv(s, &gate{scheduler: s, db: db, oneByOne: oneByOne}, jobs, h.profile.drafts, seed, m)
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
	// memoryHistories and postgresHistories are what a test run tries.
	memoryHistories   = 10_000
	postgresHistories = 300
	// mutantSeeds is how many histories a mutant may survive.
	mutantSeeds = 500
)

// seeds are those to try: SEED is one of them alone, SEEDS how many in memory.
func seeds(t *testing.T) (first uint64, inMemory, overPostgres int) {
	t.Helper()
	number := func(name string) int {
		n, err := strconv.Atoi(os.Getenv(name))
		require.NoError(t, err, "%s is a number", name)
		return n
	}
	switch {
	case os.Getenv("SEED") != "":
		return uint64(number("SEED")), 1, 1
	case os.Getenv("SEEDS") != "":
		n := number("SEEDS")
		return 1, n, max(n*postgresHistories/memoryHistories, 1)
	}
	return 1, memoryHistories, postgresHistories
}

// replayed says that somebody wants to read the history of one seed.
func replayed() bool { return os.Getenv("SEED") != "" }

// eachSeed runs a history for each seed, on as many cores as there are.
func eachSeed(t *testing.T, what string, first uint64, n int, run func(*testing.T, uint64)) {
	t.Helper()
	var next, done atomic.Int64
	watch := time.AfterFunc(time.Hour, func() {})
	if os.Getenv("SEEDS") != "" {
		watch = time.AfterFunc(progressEvery, func() {
			fmt.Fprintf(os.Stderr, "%s: %d of %d histories\n", what, done.Load(), n)
			watch.Reset(progressEvery)
		})
	}
	defer watch.Stop()
	t.Run("histories", func(t *testing.T) {
		for worker := range min(runtime.GOMAXPROCS(0), n) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
					run(t, first+uint64(i)-1)
					done.Add(1)
				}
			})
		}
	})
	t.Logf("%s: %d histories from seed %d on, no promise broken", what, done.Load(), first)
}

const progressEvery = 5 * time.Second

// judge fails with the whole story of a history that broke a promise.
func judge(t *testing.T, seed uint64, h *history, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("seed %d broke a promise: %s\nagain with: make simulate SEED=%d\n%s", seed, h.names.in(err.Error()), seed, h.story())
	}
	if replayed() {
		t.Logf("seed %d broke no promise\n%s", seed, h.story())
	}
}

func TestSimulation_Memory(t *testing.T) {
	first, n, _ := seeds(t)
	eachSeed(t, "in memory", first, n, func(t *testing.T, seed uint64) {
		h, err := inMemory(t, seed, right(), false)
		judge(t, seed, h, err)
	})
}

// Over Postgres each history must also go exactly as it goes over the memory: so
// the memory's statements mean what those of db/queries do.
func TestSimulation_Postgres(t *testing.T) {
	first, _, n := seeds(t)
	dbs := make(chan *postgres, runtime.GOMAXPROCS(0))
	for range cap(dbs) {
		dbs <- newPostgres(t)
	}
	eachSeed(t, "over Postgres", first, n, func(t *testing.T, seed uint64) {
		db := <-dbs
		defer func() { dbs <- db }()
		over, err := overPostgres(t, db, seed)
		judge(t, seed, over, err)
		in, err := inMemory(t, seed, right(), true)
		judge(t, seed, in, err)
		require.Equal(t, withoutIDs(over.story()), withoutIDs(in.story()), "seed %d: Postgres and the memory went apart", seed)
	})
}

var rowID = regexp.MustCompile(`\b(alert|reconciliation) \d+`)

// withoutIDs takes ids of rows out of errors: each database counts its own way.
func withoutIDs(story string) string { return rowID.ReplaceAllString(story, "$1 …") }

func TestSimulation_SameSeedSameHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		one, err := inMemory(t, seed, right(), false)
		require.NoError(t, err)
		two, err := inMemory(t, seed, right(), false)
		require.NoError(t, err)
		require.Equal(t, one.story(), two.story(), "seed %d", seed)
	}
}

// Each wrong protocol breaks a promise, or the simulation proves nothing.
func TestSimulation_Mutants(t *testing.T) {
	if replayed() {
		t.Skip("one seed is replayed")
	}
	var table strings.Builder
	for i, m := range mutants() {
		seed, err := uint64(0), error(nil)
		for err == nil && seed < mutantSeeds {
			seed++
			_, err = inMemory(t, seed, mutants()[i], false)
		}
		var broken violation
		if !errors.As(err, &broken) {
			t.Errorf("the mutant %q survived %d histories: %v", m.name, seed, err)
		}
		fmt.Fprintf(&table, "| %s | %d | %s |\n", m.name, seed, broken.promise)
	}
	t.Logf("mutants\n| mutant | histories until caught | broken promise |\n|---|---|---|\n%s", table.String())
}
