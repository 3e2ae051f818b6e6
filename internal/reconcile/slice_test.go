package reconcile

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

// A run that is longer than a slice continues from job to job, and from replica to
// replica: no page is read twice and no document is left out.
func TestReconcile_HandOverBetweenSlices(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.fill(40)
	whole := h.pagesOf(func() { h.sweep(Request{Extent: Full}) })

	h.Deal(fakestrapi.Values{"name": "missing"})
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	waiting := pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'reconcile'")
	slices := 0
	pages := h.pagesOf(func() {
		for h.runRow(id).FinishedAt == nil {
			w := h.reconciler(7) // another replica each time
			w.cfg.Slice = time.Millisecond
			before := h.runRow(id)
			h.run(w)
			slices++
			require.Less(t, slices, 1000, "the run does not come to its end")
			after := h.runRow(id)
			require.GreaterOrEqual(t, after.Listed, before.Listed, "it continues from the cursor")
		}
	})
	run := h.runRow(id)
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(41), run.Listed, "each document once")
	require.Equal(t, int64(1), run.Enqueued)
	require.Greater(t, run.Generation, int64(3), "several jobs worked on it")
	require.LessOrEqual(t, run.Generation, int64(slices), "each slice claims it once")
	// Each job inserts the next; the last one only if its time was over, too.
	require.GreaterOrEqual(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'reconcile'")-waiting, slices-1)
	// A slice does not remember whether a type has drafts: that is one page more at most.
	require.LessOrEqual(t, pages, whole+int(run.Generation))
}

// pagesOf returns how many pages of lists Strapi served while do ran.
func (h *env) pagesOf(do func()) int {
	before := h.Fake.Requests.Counts().Lists
	do()
	return h.Fake.Requests.Counts().Lists - before
}

// The breaker opens in the middle of a run: the run waits where it is,
// sends no request, and continues when the breaker is closed.
func TestReconcile_WaitsForTheBreaker(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) {
		c.Breaker.FailureThreshold, c.Breaker.RecoveryTimeout = 2, time.Millisecond // nothing but this test probes
	})
	h.fill(40)
	h.Deal(fakestrapi.Values{"name": "missing"})
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	h.During(func() { h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502}) })
	w := h.reconciler(7)
	continues := &river.Job[Args]{Args: Args{Continue: true}}
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, w.Work(t.Context(), continues), &snooze, "the job was there to continue a run")
	require.Equal(t, "open", h.MustText("SELECT state FROM circuit_breaker"))
	half := h.runRow(id)
	require.Equal(t, "running", half.Status, "it waits and has not failed")
	require.NotContains(t, h.OpenAlerts(), "reconciliation_failing")

	requests := h.Fake.Requests.Counts()
	require.NoError(t, w.Work(t.Context(), &river.Job[Args]{})) // the tick of the next minute
	require.ErrorAs(t, w.Work(t.Context(), continues), &snooze)
	require.Less(t, snooze.Duration, time.Minute, "it begins soon after the breaker is closed")
	require.Equal(t, requests, h.Fake.Requests.Counts(), "no request while the breaker is open")
	require.Equal(t, half.Cursor, h.runRow(id).Cursor)

	h.Fake.Faults.Clear()
	probed, err := h.Breaker.Probe(t.Context(), h.sync.Probe)
	require.NoError(t, err)
	require.True(t, probed)
	require.NoError(t, w.Work(t.Context(), &river.Job[Args]{}))
	run := h.runRow(id)
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(41), run.Listed)
	require.Equal(t, int64(1), run.Missing)
	require.Greater(t, run.Generation, half.Generation)
}

// A sweep holds one page at a time, however many documents there are. It is not
// parallel: the heap is everybody's.
func TestReconcile_BoundedMemory(t *testing.T) {
	const documents, bound = 10_000, 4 << 20 // all of them would be some 30 MB
	h := newEnv(t)
	for i := range documents {
		_, err := h.Fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "owner": "somebody"})
		require.NoError(t, err)
	}
	h.request(Request{Extent: Full, Trigger: TriggerDemand})
	w := h.reconciler(100)
	run, ok, err := w.claim(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	s, err := w.begin(t.Context(), run, circuit.Snapshot{})
	require.NoError(t, err)
	_, err = s.step(t.Context()) // what is made once is made by now
	require.NoError(t, err)
	start, most := heap(), uint64(0)
	for over := false; !over; {
		over, err = s.step(t.Context())
		require.NoError(t, err)
		most = max(most, heap())
	}
	require.Equal(t, int64(documents), h.runRow(run.ID).Listed)
	t.Logf("a sweep over %d documents: the heap grows by %d kB at most", documents, (int64(most)-int64(start))/1024)
	require.Less(t, int64(most)-int64(start), int64(bound))
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What Postgres refuses for now is no type's fault, while a list is read as after it: the run
// goes on when it can.
func TestReconcile_DatabaseIsAway(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"strapi_attribute", "reconciliation_staged"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t)
			h.Deal(nil)
			h.MustExec(`CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN RAISE 'no space left' USING ERRCODE = '53100'; END $$;
				CREATE TRIGGER away BEFORE INSERT ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION away()`)
			id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
			w := h.reconciler(7)
			require.ErrorContains(t, w.Work(t.Context(), &river.Job[Args]{Args: Args{Continue: true}}), "goes on later")
			require.Equal(t, "running", h.runRow(id).Status)
			require.Empty(t, h.OpenAlerts(), "nobody is blamed")

			h.MustExec("DROP TRIGGER away ON " + table)
			h.run(w)
			run := h.runRow(id)
			require.Equal(t, "done", run.Status)
			require.Equal(t, int64(1), run.Missing)
			require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM reconciliation_type WHERE status = 'failed'"))
		})
	}
}

// A page that is over the limit of bytes is read in halves, down to a single row; a row that is
// over it by itself is skipped and named, and deletes nothing.
func TestReconcile_PageIsTooLarge(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	keys := h.fill(20)
	h.source = mirror.NewSource(h.Pool, h.Client.WithMaxBytes(6<<10), h.Breaker, h.Policy, strapitest.Types)
	large := h.Deal(fakestrapi.Values{"name": strings.Repeat("x", 7<<10)})
	for i := range 20 {
		keys = append(keys, h.Deal(fakestrapi.Values{"name": strings.Repeat("y", 900), "owner": fmt.Sprint(i)}))
	}
	id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
	w := h.reconciler(32)
	var run dbsqlc.ReconciliationRun
	pages := h.pagesOf(func() { h.run(w); run = h.runRow(id) })
	require.Equal(t, "done", run.Status)
	require.Equal(t, int64(len(keys)), run.Listed)
	require.Equal(t, int64(20), run.Missing, "all but the one that is too large")
	require.Equal(t, int64(1), run.Odd)
	require.Zero(t, run.Ghosts)
	require.Less(t, pages, 60, "a size that was cut is kept for some pages")
	require.Equal(t, "closed 0", h.MustText("SELECT concat_ws(' ', state, failure_count) FROM circuit_breaker"))
	require.Equal(t, map[string]string{"unreadable_rows": "warning"}, h.OpenAlerts())
	require.Contains(t, h.MustText("SELECT message FROM alert"), "the row is too large to be read")

	// In the first contact, too, what is not too large is mirrored.
	h.drain()
	require.Equal(t, len(keys), h.LiveDeals())
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM deal WHERE document_id = $1", large.DocumentID))
}
