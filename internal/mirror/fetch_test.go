package mirror

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

// breaker is its state and its count of failures.
func (h *env) breaker() string {
	h.T.Helper()
	return h.MustText("SELECT state || ' ' || failure_count FROM circuit_breaker")
}

func fiveFailuresOpen(c *strapitest.Config) {
	c.Breaker.FailureThreshold = 5
}

// One poisoned document after the other: each counts its failures, and all others flow.
func TestFetch_PoisonedDocumentsDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fakestrapi.Fault{
		"500":        {Kind: fakestrapi.FaultStatus, Status: 500},
		"unreadable": {Kind: fakestrapi.FaultHTML},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, fiveFailuresOpen)
			poisoned := h.fill(7)[:maxPeers] // so that Dealbox asks for one that is well, too
			for _, key := range poisoned {
				fault.Documents = append(fault.Documents, key.DocumentID)
			}
			h.Fake.Faults.Set(fault)
			for attempt := 1; attempt <= 3; attempt++ {
				for _, key := range poisoned {
					require.Error(t, h.refresh(key))
					require.Equal(t, attempt, h.Entity(key).Failures)
					require.Equal(t, "closed 0", h.breaker())
					h.EndBackoff(key)
				}
				require.NoError(t, h.refresh(h.Deal(fakestrapi.Values{"name": "flows"})))
			}
			require.Equal(t, len(poisoned), pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE state = 'dead'"))
			require.Equal(t, map[string]string{"event_dead_lettered": "error"}, h.OpenAlerts())
		})
	}
}

// patient is as serve sets it, with the client of the env, which waits a minute.
func patient(c *strapitest.Config) { c.Policy.Try = time.Minute }

// A document that is too large to read is no reason to take Strapi for broken, even
// if it is the one that the list begins with.
func TestFetch_TooLargeDocument(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) { c.Strapi.Types[0].Attributes[1].Kind = fakestrapi.JSON })
	key := h.Deal(fakestrapi.Values{"name": strings.Fields(strings.Repeat("x ", 1<<20))})
	require.ErrorContains(t, h.refresh(key), "larger than")
	require.Equal(t, 1, h.Entity(key).Failures)
	require.Equal(t, "closed 0", h.breaker())
	require.NoError(t, h.refresh(h.Deal(nil)), "its type is not paused")
}

// A text that is far too long costs no memory and not its document: the rest of it is not
// kept, and an attribute that is not mapped is not in the request.
func TestFetch_TooLongText(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) {
		c.Strapi.Types[0].Attributes = append(c.Strapi.Types[0].Attributes, fakestrapi.Attribute{Name: "body", Kind: fakestrapi.JSON})
	})
	long := strings.Repeat(`\u0e23"`, 3<<20)
	key := h.Deal(fakestrapi.Values{"name": long, "owner": long[1:], "stage": "won", "body": strings.Fields(strings.Repeat("x ", 1<<20))})
	require.NoError(t, h.refresh(key))
	require.Equal(t, "won", h.MustText("SELECT concat(name, owner, stage) FROM deal"))
	require.Contains(t, h.MustText("SELECT unreadable->>'owner' FROM entity_sync"), "is longer than 10000 characters")
}

// STRAPI_TIMEOUT may be longer than a job (here a minute): what hangs is noticed
// while there is time to find out whose fault it is.
func TestFetch_HangIsNoticedBeforeTheJobEnds(t *testing.T) {
	t.Parallel()
	t.Run("Document", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, patient)
		key := h.Deal(nil)
		h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultHang, Documents: []string{key.DocumentID}})
		require.ErrorContains(t, h.refresh(key), "no complete answer within 12s")
		require.Equal(t, 1, h.Entity(key).Failures)
		require.Equal(t, "closed 0", h.breaker())
	})
	t.Run("Strapi", func(t *testing.T) {
		t.Parallel()
		h := newEnv(t, patient)
		key := h.Deal(nil)
		h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultHang})
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.refresh(key), &snooze)
		require.Zero(t, h.Entity(key).Failures)
		require.Equal(t, "closed 2", h.breaker(), "the document and the list")
		require.Empty(t, h.OpenAlerts())
	})
}

// A request for which no time was left was not answered, neither well nor badly.
func TestPause_OutOfTimeRaisesNoAlert(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	require.NoError(t, h.sync.pause(t.Context(), strapitest.Types[0], fmt.Errorf("ask: %w", context.DeadlineExceeded), 0))
	require.Positive(t, h.sync.paused.left(fakestrapi.DealUID))
	require.Empty(t, h.OpenAlerts())
}

// When Postgres cannot record how Strapi answered, no document counts a failure.
func TestFetch_PostgresIsNobodysFault(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	well, poisoned, deleted := h.Deal(nil), h.Deal(nil), h.Deal(nil)
	require.NoError(t, h.refresh(deleted))
	require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, deleted.DocumentID))
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: []string{poisoned.DocumentID}})
	h.MustExec(`
		UPDATE circuit_breaker SET failure_count = 1;
		CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;
		CREATE TRIGGER no_space BEFORE UPDATE ON circuit_breaker FOR EACH ROW WHEN (NEW.failure_count = 0) EXECUTE FUNCTION no_space()`)

	for _, key := range []Key{well, poisoned, deleted} {
		require.ErrorContains(t, h.refresh(key), "53100")
		require.Zero(t, h.Entity(key).Failures)
		require.Equal(t, "pending", h.Entity(key).State)
		require.Zero(t, h.sync.paused.left(key.UID), "nor is Strapi")
	}
	require.Empty(t, h.OpenAlerts())

	h.MustExec("DROP TRIGGER no_space ON circuit_breaker")
	require.NoError(t, h.refresh(well))
	require.NoError(t, h.refresh(deleted))
	require.Equal(t, 1, h.LiveDeals())
}
