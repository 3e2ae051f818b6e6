package mirror

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
	"dealbox/internal/strapi"
)

// poison makes Strapi answer 500 for some documents, and their list filters.
func (h *env) poison(keys ...Key) {
	fault := fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: http.StatusInternalServerError}
	for _, key := range keys {
		fault.Documents = append(fault.Documents, key.DocumentID)
	}
	h.Fake.Faults.Set(fault)
}

// nearlyOpen counts failures up to one below the threshold, as other workers do.
func (h *env) nearlyOpen() {
	h.T.Helper()
	h.MustExec("UPDATE circuit_breaker SET failure_count = 4, failure_keys = '{a,b,c,d}', last_error = 'x'")
}

// The fifth failure in a row asks for the list before the breaker opens.
func TestClassify_AsksBeforeItOpens(t *testing.T) {
	t.Parallel()
	t.Run("StrapiAnswers", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, fiveFailuresOpen)
		ill := h.fill(3)[0]
		h.poison(ill)
		h.nearlyOpen()
		require.ErrorContains(t, h.refresh(ill), "500")
		require.Equal(t, 1, h.Entity(ill).Failures)
		require.Equal(t, "closed 0", h.breaker())
	})
	t.Run("StrapiIsAway", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, fiveFailuresOpen)
		key := h.fill(1)[0]
		h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultDown})
		h.nearlyOpen()
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.refresh(key), &snooze)
		require.Zero(t, h.Entity(key).Failures)
		require.Equal(t, "open", h.MustText("SELECT state FROM circuit_breaker"))
	})
	t.Run("OneListFails", func(t *testing.T) { // a page that reconciliation reads
		t.Parallel()
		h := newEnv(t, fiveFailuresOpen)
		fault := fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Plural: "billings"}
		h.Fake.Faults.Set(fault)
		page := func() error {
			_, err := h.sync.source.List(t.Context(), strapitest.Types[1], strapi.ListQuery{PageSize: 1}, circuit.Snapshot{State: circuit.Closed})
			return err
		}
		for range 5 {
			require.Equal(t, strapi.Unavailable, strapi.KindOf(page()))
		}
		require.Equal(t, "closed", h.MustText("SELECT state FROM circuit_breaker"))

		fault.Plural = ""
		h.Fake.Faults.Set(fault)
		require.Eventually(t, func() bool { return page() != nil && h.MustText("SELECT state FROM circuit_breaker") == "open" }, time.Minute, time.Millisecond)
	})
}

// What Strapi answers ends a run of failures that began after the request did.
func TestClassify_SuccessEndsALaterRun(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fiveFailuresOpen)
	key := h.Deal(nil)
	args := h.enqueue(key)
	h.During(h.nearlyOpen)
	require.NoError(t, h.work(args))
	require.Equal(t, "closed 0", h.breaker())
}

// A type whose list fails waits by itself: the other one flows.
func TestClassify_OneTypeWaits(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fiveFailuresOpen)
	deals := h.fill(6)
	billing := h.Billing(deals[0])
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Plural: "pipeline-deals"})
	for _, key := range deals {
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.refresh(key), &snooze)
		require.Zero(t, h.Entity(key).Failures)
		require.NoError(t, h.refresh(billing))
		require.NoError(t, h.sync.watchOnce(t.Context()))
		h.sync.paused.clear(key.UID)
	}
	require.Equal(t, "closed 0", h.breaker())
	require.Equal(t, map[string]string{"strapi_unusable": "error"}, h.OpenAlerts())
	require.Equal(t, "pipeline-deals", h.MustText("SELECT subject FROM alert"))

	h.Fake.Faults.Clear()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	h.drain()
	require.Equal(t, "ok", h.Entity(deals[5]).State)
}

// Where the list answers and no document does, as with a cache before a broken
// Strapi, no document counts a failure.
func TestClassify_NoDocumentIsAnswered(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fakestrapi.Fault{
		"500":  {Kind: fakestrapi.FaultStatus, Status: 500, Action: "findOne"},
		"HTML": {Kind: fakestrapi.FaultHTML, Action: "findOne"},
		"400":  {Kind: fakestrapi.FaultStatus, Status: 400, Action: "findOne"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, fiveFailuresOpen)
			deals := h.fill(5)
			h.Fake.Faults.Set(fault)
			for _, key := range append(deals, h.Deal(nil)) { // one is not mirrored yet
				var snooze *river.JobSnoozeError
				require.ErrorAs(t, h.refresh(key), &snooze)
				require.Zero(t, h.Entity(key).Failures)
				h.sync.paused.clear(key.UID)
				require.NoError(t, h.sync.watchOnce(t.Context()))
				require.Equal(t, map[string]string{"strapi_unusable": "error"}, h.OpenAlerts())
				h.sync.paused.clear(key.UID)
			}
			require.Equal(t, "closed", h.MustText("SELECT state FROM circuit_breaker"))
			require.Contains(t, h.MustText("SELECT message FROM alert"), "its list answers, and none of its documents does")

			h.Fake.Faults.Clear()
			require.NoError(t, h.sync.watchOnce(t.Context()))
			require.Empty(t, h.OpenAlerts())
			h.drain()
			require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE state <> 'ok'"))
		})
	}
}

// Where the list answers for an hour and no document does, the documents are ill: they
// become dead letters, and one that is well flows.
func TestClassify_NoDocumentIsAnsweredForLong(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	ill := h.fill(4)
	h.poison(ill...)
	var snooze *river.JobSnoozeError
	args := h.enqueue(ill[0])
	require.ErrorAs(t, h.work(args), &snooze)
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.NotZero(t, h.sync.paused.left(fakestrapi.DealUID))
	require.Zero(t, h.Entity(ill[0]).Failures)

	h.MustExec("UPDATE alert SET first_seen = first_seen - interval '61 minutes'")
	h.sync.paused.clear(fakestrapi.DealUID)
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Zero(t, h.sync.paused.left(fakestrapi.DealUID))
	for attempt := 1; attempt <= 3; attempt++ {
		require.ErrorContains(t, h.work(args), "500")
		require.Equal(t, attempt, h.Entity(ill[0]).Failures)
		h.EndBackoff(ill[0])
	}
	require.Equal(t, "dead", h.Entity(ill[0]).State)
	require.Contains(t, h.MustText("SELECT reason FROM alert_member"), "for each document of the type that was tried, and lists them")
	require.Equal(t, map[string]string{"strapi_unusable": "error", "event_dead_lettered": "error"}, h.OpenAlerts())

	well := h.Deal(nil)
	require.NoError(t, h.refresh(well))
	require.Equal(t, "ok", h.Entity(well).State)
}

// One well document is enough, wherever it stands: once the watch has found it, the failures
// of each other one are its own.
func TestClassify_OneDocumentIsWell(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	keys := h.fill(12)
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.DocumentID, b.DocumentID) })
	h.poison(keys[1:]...)
	var snooze *river.JobSnoozeError
	args := h.enqueue(keys[3])
	require.ErrorAs(t, h.work(args), &snooze, "the five behind it are ill, too")
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	require.ErrorContains(t, h.work(args), "500")
	require.Equal(t, 1, h.Entity(keys[3]).Failures)
	require.Empty(t, h.OpenAlerts())
}

// A refusal of some documents, by a policy in Strapi's code or by what stands before it, is
// theirs: they become dead letters, the others flow, and nobody changes the token for it.
func TestClassify_RefusesSomeDocuments(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fakestrapi.Fault{
		"403 of a policy": {Kind: fakestrapi.FaultForbidden},
		"403 of a proxy":  {Kind: fakestrapi.FaultStatus, Status: 403, Body: "<html>blocked</html>"},
		"404 of a proxy":  {Kind: fakestrapi.FaultStatus, Status: 404, Body: "<html>not found</html>"},
		"405 of a proxy":  {Kind: fakestrapi.FaultStatus, Status: 405, Body: "<html>not allowed</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t)
			deals := h.fill(5)
			fault.Documents, fault.Action = []string{deals[0].DocumentID}, "findOne"
			h.Fake.Faults.Set(fault)
			args := h.enqueue(deals[0])
			for attempt := 1; attempt <= 3; attempt++ {
				require.ErrorContains(t, h.work(args), "status 40")
				require.Equal(t, attempt, h.Entity(deals[0]).Failures)
				require.Zero(t, h.sync.paused.left(fakestrapi.DealUID))
				h.EndBackoff(deals[0])
			}
			require.Equal(t, map[string]string{"event_dead_lettered": "error"}, h.OpenAlerts())
			require.NotContains(t, h.MustText("SELECT reason FROM alert_member"), "token")
			require.NoError(t, h.refresh(deals[1]))
			require.Equal(t, 5, h.LiveDeals())
		})
	}
}

// A 404 that the list contradicts deletes nothing.
func TestFetch_ListContradicts404(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]strapitest.Option{"Published": nil, "Draft": {strapitest.Drafts}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, options...)
			key := h.fill(2)[0]
			if name == "Draft" {
				require.NoError(t, h.Fake.Unpublish(fakestrapi.DealUID, key.DocumentID))
				require.NoError(t, h.refresh(key))
			}
			h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 404, Documents: []string{key.DocumentID}, Action: "findOne"})
			args := h.enqueue(key)
			for attempt := 1; attempt <= 3; attempt++ {
				require.ErrorContains(t, h.work(args), "while its list of pipeline-deals has it")
				require.Equal(t, attempt, h.Entity(key).Failures)
				require.Equal(t, 2, h.LiveDeals())
				h.EndBackoff(key)
			}
			require.Equal(t, map[string]string{"event_dead_lettered": "error"}, h.OpenAlerts(), "not for ever")

			h.Fake.Faults.Clear()
			require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, key.DocumentID))
			require.NoError(t, h.refresh(key))
			require.Equal(t, 1, h.LiveDeals())
			require.Empty(t, h.OpenAlerts())
		})
	}
}

// A refusal of what stands before Strapi is no reason to replace the token. One that
// lets lists pass alone is one episode, too.
func TestPause_Blocked(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(4)
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 403, Body: "<html>blocked</html>", Action: "findOne"})
	for _, key := range deals {
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.refresh(key), &snooze)
		require.Zero(t, h.Entity(key).Failures)
		require.NoError(t, h.sync.watchOnce(t.Context()))
		require.Equal(t, map[string]string{"strapi_blocked": "critical"}, h.OpenAlerts())
		h.sync.paused.clear(key.UID)
	}
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert"))
	require.Equal(t, "text/html; charset=utf-8", h.MustText("SELECT details->>'content-type' FROM alert"))

	h.Fake.Faults.Clear()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	h.drain()
	require.Equal(t, "ok", h.Entity(deals[0]).State)
}

// A long Retry-After ends when Strapi answers again.
func TestWatch_WakesWhatWaitedForStrapi(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"Seconds": "86400", "Date": time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat)} {
		for _, status := range []int{429, 503} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newEnv(t)
				keys := h.fill(3)
				h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: status, RetryAfter: after})
				for _, key := range keys {
					var snooze *river.JobSnoozeError
					require.ErrorAs(t, h.refresh(key), &snooze)
					require.Greater(t, snooze.Duration, 50*time.Minute)
				}
				// As River writes a snooze down. One has a failure of its own to wait for.
				h.MustExec("UPDATE river.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE kind = 'mirror_sync'")
				h.MustExec("UPDATE entity_sync SET next_attempt_at = now() + interval '1 hour' WHERE document_id = $1", keys[2].DocumentID)
				due := func() int {
					return pgtest.MustGet[int](h.DB, `SELECT count(DISTINCT args->>'document_id') FROM river.river_job
						WHERE state = 'available' AND scheduled_at <= now()`)
				}

				require.NoError(t, h.sync.watchOnce(t.Context()))
				require.Zero(t, due(), "Strapi does not answer yet")
				h.Fake.Faults.Clear()
				require.NoError(t, h.sync.watchOnce(t.Context()))
				require.Equal(t, 2, due())
				require.Zero(t, h.sync.paused.left(fakestrapi.DealUID))
			})
		}
	}
}

// A type that fails by itself does not keep the breaker open: the next probe asks another.
func TestProbe_AsksTheTypesInTurn(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Plural: "pipeline-deals"})
	require.Error(t, h.sync.Probe(t.Context()))
	require.NoError(t, h.sync.Probe(t.Context()))
	require.Equal(t, 2, h.Fake.Requests.Counts().Gets(), "one request a probe")
}
