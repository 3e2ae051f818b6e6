package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/jobs"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
)

// replicas are real processes on one database, before one Strapi.
type replicas struct {
	*env

	all []*replica
	ids []string // deals
}

// replica is one process; its env speaks to it alone.
type replica struct {
	*env

	process *exec.Cmd
}

// replicaDeals are more pages than one job works at once, at ten documents a page.
const replicaDeals = 120

// What must happen once over all replicas happens once.
func TestReplicas_DoOnceWhatMustHappenOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	r := startReplicas(t, 3)
	t.Run("forecast", r.forecast)
	t.Run("breaker", r.breaker)
	t.Run("reconciliation", r.reconciliation)
	t.Run("killed runner", r.killedRunner)
	r.waitIdle()
	r.requireMirrorEqualsStrapi()
}

func startReplicas(t *testing.T, n int) *replicas {
	t.Helper()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false), MaxLimit: 10},
		"CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "3s", "STRAPI_TIMEOUT", "30s", "LOG_LEVEL", "error",
		"RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h") // only what the test asks for
	r := &replicas{env: h}
	for i := range replicaDeals {
		e, err := h.fake.Create(fakestrapi.DealUID, deal(i))
		require.NoError(t, err)
		r.ids = append(r.ids, e.DocumentID)
	}
	for range n {
		one := *h
		port := freePort(t)
		one.address, one.env = "http://127.0.0.1:"+port, h.env.with("PORT", port)
		r.all = append(r.all, &replica{&one, one.startProcess()})
	}
	r.eventually("the first contact is over", func() bool {
		return h.MustText("SELECT count(*)::text FROM deal") == strconv.Itoa(replicaDeals)
	})
	r.atRest()
	return r
}

func deal(value int) fakestrapi.Values {
	return fakestrapi.Values{
		"name": fmt.Sprint("worth ", value), "deal_value": json.Number(strconv.Itoa(value)), "status": "active",
		"probability": json.Number("100"), "recognition_start_month": "2027-01-01", "recognition_end_month": "2027-01-01",
	}
}

// atRest waits until no reconciliation, sync or recompute is under way.
func (r *replicas) atRest() {
	r.T.Helper()
	r.eventually("no reconciliation is under way", func() bool {
		return r.MustText("SELECT count(*)::text FROM reconciliation_run WHERE finished_at IS NULL") == "0"
	})
	r.waitIdle()
}

func (at *replica) deliver(id, body string) int {
	return sentAgain(func() int { return post(at.address, id, body) })
}

// on writes through all replicas at once: one writer a replica, each with deals of its own.
func (r *replicas) on(rounds int, write func(at *replica, documentID string, round int)) {
	var writers sync.WaitGroup
	for i, at := range r.all {
		writers.Go(func() {
			for round := range rounds {
				write(at, r.ids[(round*len(r.all)+i)%len(r.ids)], round)
			}
		})
	}
	writers.Wait()
}

// However many writers there are on however many replicas, the forecast is
// computed at most twice a second, and its last state has seen every change.
func (r *replicas) forecast(t *testing.T) {
	last := r.MustText("SELECT max(id)::text FROM forecast")
	began := time.Now()
	r.on(300, func(at *replica, id string, round int) {
		_, err := r.fake.Update(fakestrapi.DealUID, id, deal(1000+round))
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, at.deliver("msg_"+id+strconv.Itoa(round), update(id)))
	})
	r.waitIdle()
	took := time.Since(began)
	computed := pgtest.MustGet[int](r.DB, "SELECT count(*) FROM forecast WHERE id > $1::bigint", last)
	t.Logf("%d recomputes in %s for %d changes", computed, took.Round(time.Millisecond), 300*len(r.all))
	require.Positive(t, computed)
	require.LessOrEqual(t, computed, int(took/(500*time.Millisecond))+1)

	want := decimal.Zero
	for _, e := range r.fake.List(fakestrapi.DealUID, strapi.Published) {
		want = want.Add(decimal.RequireFromString(e.Text("deal_value")))
	}
	require.Equal(t, want.String(), r.MustText("SELECT trunc(confirmed)::text FROM forecast_month WHERE forecast_id = (SELECT max(id) FROM forecast)"),
		"a mark was lost")
	// Once more from nothing: the same content makes no new snapshot.
	before := r.MustText("SELECT max(id)::text FROM forecast")
	r.MustExec("UPDATE forecast_scope SET want = want + 1, dirty_since = now() - interval '3 minutes'")
	r.insert(t, reconcile.Args{}) // the rescue gives it a job
	r.waitIdle()
	require.Equal(t, before, r.MustText("SELECT max(id)::text FROM forecast"))
}

// While the breaker is open, and while it is half open, all replicas together
// ask Strapi at most one question an interval.
func (r *replicas) breaker(t *testing.T) {
	r.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502})
	change := func(round string) {
		r.on(20, func(at *replica, id string, n int) {
			_, err := r.fake.Update(fakestrapi.DealUID, id, fakestrapi.Values{"name": round})
			require.NoError(t, err)
			require.Equal(t, http.StatusAccepted, at.deliver(fmt.Sprint("msg_", round, id, n), update(id)))
		})
	}
	change("failing")
	failed, first := r.afterProbes(1) // what was under way when it opened has ended
	change("open")
	failedLater, last := r.afterProbes(failed + 3)
	require.Equal(t, failedLater-failed, last.Probes-first.Probes, "one probe an interval over all replicas")
	require.Equal(t, first.Documents+first.Lists, last.Documents+last.Lists, "nothing else is asked")
	require.Equal(t, "0", r.MustText(`SELECT count(*)::text FROM (SELECT at - lag(at) OVER (ORDER BY id) AS since, from_state, to_state FROM circuit_breaker_event) e
		WHERE from_state = 'open' AND to_state = 'half_open' AND since < interval '3 seconds'`))

	r.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultHang})
	hanging := func() int { return first.Probes + r.failedProbes() - failed + 1 }
	r.eventually("a probe hangs", func() bool { return r.fake.Requests.Counts().Probes == hanging() })
	change("half_open")
	r.eventually("each replica has read the breaker several times", func() bool {
		return r.MustText("SELECT (state = 'half_open' AND clock_timestamp() > changed_at + interval '5 seconds')::text FROM circuit_breaker") == "true"
	})
	half := r.fake.Requests.Counts()
	require.Equal(t, hanging(), half.Probes)
	require.Equal(t, last.Documents+last.Lists, half.Documents+half.Lists)

	r.fake.Faults.Clear()
	r.waitIdle()
	require.Equal(t, "closed", r.MustText("SELECT state FROM circuit_breaker"))
	r.requireMirrorEqualsStrapi()
}

func (r *replicas) failedProbes() int {
	return pgtest.MustGet[int](r.DB, "SELECT count(*) FROM circuit_breaker_event WHERE from_state = 'half_open' AND to_state = 'open'")
}

// afterProbes waits until at least n probes have failed, and returns how many
// had and what Strapi was asked until then, at a moment when no probe is under way.
func (r *replicas) afterProbes(n int) (failed int, counts fakestrapi.Counts) {
	r.T.Helper()
	isOpen := func() bool { return r.MustText("SELECT state FROM circuit_breaker") == "open" }
	require.Eventually(r.T, func() bool {
		failed = r.failedProbes()
		before := isOpen()
		counts = r.fake.Requests.Counts()
		return failed >= n && before && isOpen() && r.failedProbes() == failed
	}, patience, 20*time.Millisecond, "no probe fails")
	return failed, counts
}

// Requests and ticks overlap on all replicas: one run at a time, and no page is
// requested twice.
func (r *replicas) reconciliation(t *testing.T) {
	r.atRest()
	counts := func() (runs, pages int) {
		return pgtest.MustGet[int](r.DB, "SELECT count(*) FROM reconciliation_run WHERE status = 'done'"), r.fake.Requests.Counts().Lists
	}
	_, before := counts()
	r.reconcile(t)
	r.atRest()
	_, after := counts()
	each := after - before
	require.Greater(t, each, replicaDeals/10)

	runs, pages := counts()
	last := r.MustText("SELECT max(id)::text FROM reconciliation_run")
	r.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultSlow, Delay: 5 * time.Millisecond})
	var askers sync.WaitGroup
	for range len(r.all) {
		askers.Go(func() {
			for range 10 {
				r.reconcile(t)
				r.insert(t, reconcile.Args{})
			}
		})
	}
	askers.Wait()
	r.atRest()
	r.fake.Faults.Clear()
	manyRuns, manyPages := counts()
	t.Logf("%d requests made %d runs of %d pages", 10*len(r.all), manyRuns-runs, each)
	require.Greater(t, manyRuns, runs) // one, if all asked before it began
	require.Equal(t, (manyRuns-runs)*each, manyPages-pages, "a page was requested twice")
	require.Equal(t, "0", r.MustText(`SELECT count(*)::text FROM reconciliation_run a JOIN reconciliation_run b ON a.id < b.id
		AND tstzrange(a.started_at, a.finished_at) && tstzrange(b.started_at, b.finished_at)`), "two runs overlap")
	require.Equal(t, "1", r.MustText("SELECT max(generation)::text FROM reconciliation_run WHERE id > $1::bigint", last))
}

// The process that holds a run is killed: another goes on from its cursor.
func (r *replicas) killedRunner(t *testing.T) {
	r.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultSlow, Delay: time.Second})
	id := r.reconcile(t)
	var holder string
	r.eventually("a replica is in the middle of the run", func() bool {
		holder = r.MustText("SELECT (SELECT holder FROM reconciliation_run WHERE id = $1 AND status = 'running' AND listed >= 20)", id)
		return holder != ""
	})
	_, pid, _ := strings.Cut(holder, ":")
	for _, one := range r.all {
		if strconv.Itoa(one.process.Process.Pid) == pid {
			require.NoError(t, one.process.Process.Signal(syscall.SIGKILL))
			_ = one.process.Wait()
		}
	}
	require.Equal(t, "running", r.MustText("SELECT status FROM reconciliation_run WHERE id = $1", id), "killed too late")
	r.fake.Faults.Clear()
	require.Eventually(t, func() bool {
		return r.MustText("SELECT status FROM reconciliation_run WHERE id = $1", id) == "done"
	}, 2*patience, 100*time.Millisecond, "nobody took the run over")
	require.Equal(t, "2", r.MustText("SELECT generation::text FROM reconciliation_run WHERE id = $1", id))
	require.NotEqual(t, holder, r.MustText("SELECT holder FROM reconciliation_run WHERE id = $1", id))
	require.Equal(t, strconv.Itoa(replicaDeals), r.MustText("SELECT listed::text FROM reconciliation_run WHERE id = $1", id), "each document once")
}

// reconcile asks for a full run.
func (r *replicas) reconcile(t *testing.T) (id int64) {
	t.Helper()
	inserter, err := jobs.NewInserter(r.Pool, nil, nil)
	require.NoError(t, err)
	r.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = reconcile.NewQueue(inserter).Request(ctx, tx, reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerDemand})
		return err
	})
	return id
}

// insert adds a job, as the tick of each minute does.
func (r *replicas) insert(t *testing.T, args reconcile.Args) {
	t.Helper()
	inserter, err := jobs.NewInserter(r.Pool, nil, nil)
	require.NoError(t, err)
	_, err = inserter.Insert(t.Context(), args, nil)
	require.NoError(t, err)
}
