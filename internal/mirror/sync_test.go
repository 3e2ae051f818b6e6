package mirror

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

func TestSync_FollowsADocument(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "Acme", "deal_value": json.Number("1000.10"), "deal_status": "active"})

	require.NoError(t, h.refresh(key))
	require.Equal(t, "1000.10", h.MustText("SELECT deal_value::numeric(12,2)::text FROM deal WHERE document_id = $1", key.DocumentID))
	require.True(t, h.dirty(), "a change of the mirror marks the forecast dirty")

	h.cleanForecast()
	require.NoError(t, h.refresh(key))
	require.False(t, h.dirty(), "nothing differed, so nothing is recomputed")
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change"))

	_, err := h.Fake.Update(fakestrapi.DealUID, key.DocumentID, fakestrapi.Values{"stage": "negotiation"})
	require.NoError(t, err)
	require.NoError(t, h.refresh(key))
	require.True(t, h.dirty())

	require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, key.DocumentID))
	require.NoError(t, h.refresh(key))
	require.NotNil(t, pgtest.MustGet[*time.Time](h.DB, "SELECT deleted_at FROM deal"))
	require.Equal(t, "negotiation", h.MustText("SELECT stage FROM deal"), "a tombstone keeps the last state")
	require.Equal(t, "created,updated,deleted", h.MustText("SELECT string_agg(kind, ',' ORDER BY id) FROM mirror_change"))
	require.Equal(t, "negotiation", h.MustText("SELECT after->>'stage' FROM mirror_change ORDER BY id DESC LIMIT 1"))
	e := h.Entity(key)
	require.Equal(t, e.Want, e.Done)
	require.Equal(t, "ok", e.State)
}

func TestSync_ManyRefreshesOfOneDocumentCostOneRequest(t *testing.T) {
	t.Parallel()
	const refreshes = 50
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "busy"})
	var all []SyncArgs
	for range refreshes {
		all = append(all, h.enqueue(key))
	}
	for _, args := range all {
		require.NoError(t, h.work(args))
	}
	require.Equal(t, 1, h.Fake.Requests.Document(key.DocumentID))
}

// An attempt does not cover a refresh that is requested while Strapi answers.
func TestSync_WantIsReadBeforeStrapiIsAsked(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "first"})
	args := h.enqueue(key)
	h.During(func() {
		_, err := h.Fake.Update(fakestrapi.DealUID, key.DocumentID, fakestrapi.Values{"name": "second"})
		require.NoError(t, err)
		h.enqueue(key)
	})
	require.NoError(t, h.work(args))
	e := h.Entity(key)
	require.Less(t, e.Done, e.Want, "the second refresh is still to be done")
	require.Equal(t, "pending", e.State)

	require.NoError(t, h.work(SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Seq: e.Want}))
	require.Equal(t, "second", h.MustText("SELECT name FROM deal"))
}

// An older answer that arrives late must not overwrite a newer one.
func TestSync_LoserOfTheCompareAndSetStartsAgain(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "old"})
	slow := h.enqueue(key)
	h.During(func() { // the slow worker holds "old"; a faster one writes "new"
		_, err := h.Fake.Update(fakestrapi.DealUID, key.DocumentID, fakestrapi.Values{"name": "new"})
		require.NoError(t, err)
		require.NoError(t, h.refresh(key))
		require.Equal(t, "new", h.MustText("SELECT name FROM deal"))
	})
	require.NoError(t, h.work(slow))
	require.Equal(t, "new", h.MustText("SELECT name FROM deal"))
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change"), "the old state was never written")
}

func TestSync_DeletedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "gone soon"})
	slow := h.enqueue(key)
	h.During(func() {
		require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, key.DocumentID))
		require.NoError(t, h.refresh(key))
	})
	require.NoError(t, h.work(slow))
	require.Equal(t, 0, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE deleted_at IS NULL"))
}

func TestSync_Relations(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	first, second := h.Deal(fakestrapi.Values{"name": "first"}), h.Deal(fakestrapi.Values{"name": "second"})
	billing := h.Billing(first)
	for _, key := range []Key{first, second, billing} {
		require.NoError(t, h.refresh(key))
	}
	link := func() *string {
		return pgtest.MustGet[*string](h.DB, "SELECT deal_document_id FROM billing WHERE document_id = $1", billing.DocumentID)
	}
	require.Equal(t, first.DocumentID, *link())

	// Strapi sends an event for the deal alone.
	_, err := h.Fake.SetRelation(fakestrapi.DealUID, second.DocumentID, "billings", billing.DocumentID)
	require.NoError(t, err)
	require.NoError(t, h.refresh(second))
	require.Equal(t, first.DocumentID, *link(), "a deal's sync never writes a billing")
	h.workPending()
	require.Equal(t, second.DocumentID, *link())

	// And when the deal is deleted, none for its billings.
	require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, second.DocumentID))
	require.NoError(t, h.refresh(second))
	h.workPending()
	require.Nil(t, link())
	require.Nil(t, pgtest.MustGet[*time.Time](h.DB, "SELECT deleted_at FROM billing"))
}

func TestSync_UnpublishedDealLosesItsPublishedBillings(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts)
	deal := h.Deal(fakestrapi.Values{"name": "deal"})
	billing := h.Billing(deal)
	require.NoError(t, h.refresh(deal))
	require.NoError(t, h.refresh(billing))
	link := func() *string { return pgtest.MustGet[*string](h.DB, "SELECT deal_document_id FROM billing") }
	require.Equal(t, deal.DocumentID, *link())

	// The draft of the deal keeps the draft of the billing; of the published
	// billing, which counts here, nobody says a word.
	require.NoError(t, h.Fake.Unpublish(fakestrapi.DealUID, deal.DocumentID))
	require.NoError(t, h.refresh(deal))
	h.workPending()
	require.Nil(t, link())

	_, err := h.Fake.Publish(fakestrapi.DealUID, deal.DocumentID, nil)
	require.NoError(t, err)
	require.NoError(t, h.refresh(deal))
	h.workPending()
	require.Equal(t, deal.DocumentID, *link())
}

// A billing's answer can be older than what its deal's sync saw: the link that it
// restores is found by one more refresh of the deal.
func TestSync_LinkThatAnOlderAnswerRestoresIsFound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lose func(h *env, deal Key) error
	}{
		{"Deleted", func(h *env, deal Key) error { return h.Fake.Delete(fakestrapi.DealUID, deal.DocumentID) }},
		{"Unlinked", func(h *env, deal Key) error {
			_, err := h.Fake.Update(fakestrapi.DealUID, deal.DocumentID, fakestrapi.Values{"billings": []any{}})
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t)
			deal := h.Deal(fakestrapi.Values{"name": "deal"})
			billing := h.Billing(deal)
			require.NoError(t, h.refresh(deal))
			h.During(func() { // Strapi has read the billing for its answer
				require.NoError(t, test.lose(h, deal))
				require.NoError(t, h.refresh(deal))
			})
			require.NoError(t, h.refresh(billing))
			h.workPending() // the deal
			h.workPending() // the billing
			require.Nil(t, pgtest.MustGet[*string](h.DB, "SELECT deal_document_id FROM billing"))
		})
	}
}

// workPending works the newest job of each document that is behind.
func (h *env) workPending() {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT uid, document_id, locale, want_seq FROM entity_sync WHERE done_seq < want_seq")
	require.NoError(h.T, err)
	var all []SyncArgs
	for rows.Next() {
		var a SyncArgs
		require.NoError(h.T, rows.Scan(&a.UID, &a.DocumentID, &a.Locale, &a.Seq))
		all = append(all, a)
	}
	require.NoError(h.T, rows.Err())
	require.NotEmpty(h.T, all, "nobody requested a refresh of the billings")
	for _, a := range all {
		require.Equal(h.T, 1, pgtest.MustGet[int](h.DB, `SELECT count(*) FROM river.river_job
			WHERE args->>'document_id' = $1 AND (args->>'seq')::bigint = $2`, a.DocumentID, a.Seq), "each refresh has its job")
		require.NoError(h.T, h.work(a))
	}
}

func TestSync_Publication(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts)
	key := h.Deal(fakestrapi.Values{"name": "published", "deal_status": "active"})
	state := func() string {
		return h.MustText("SELECT name || ' ' || (published_at IS NOT NULL) || ' ' || (deleted_at IS NULL) FROM deal")
	}
	require.NoError(t, h.refresh(key))
	require.Equal(t, "published true true", state())

	_, err := h.Fake.SaveDraft(fakestrapi.DealUID, key.DocumentID, fakestrapi.Values{"name": "draft"})
	require.NoError(t, err)
	require.NoError(t, h.refresh(key))
	require.Equal(t, "published true true", state(), "a draft saved after publication changes nothing")

	require.NoError(t, h.Fake.Unpublish(fakestrapi.DealUID, key.DocumentID))
	require.NoError(t, h.refresh(key))
	require.Equal(t, "draft false true", state(), "unpublished: the row stays")
	require.Equal(t, "unpublished", h.MustText("SELECT kind FROM mirror_change ORDER BY id DESC LIMIT 1"))

	require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, key.DocumentID))
	require.NoError(t, h.refresh(key))
	require.Equal(t, "draft false false", state())
}

// Whatever a broken Strapi answers, nothing is deleted, no document
// counts a failure, and all is well once Strapi is.
func TestSync_BrokenStrapiDeletesNothing(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		fault fakestrapi.Fault
		alert string
	}{
		"HTML":           {fakestrapi.Fault{Kind: fakestrapi.FaultHTML}, ""},
		"truncated":      {fakestrapi.Fault{Kind: fakestrapi.FaultTruncated}, ""},
		"cut":            {fakestrapi.Fault{Kind: fakestrapi.FaultCut}, ""},
		"null":           {fakestrapi.Fault{Kind: fakestrapi.FaultNullData}, ""},
		"[]":             {fakestrapi.Fault{Kind: fakestrapi.FaultEmptyArray}, ""},
		"403 of a proxy": {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 403, Body: "<html>blocked</html>"}, "strapi_blocked"},
		"407":            {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 407, Body: "<html>log in</html>"}, "strapi_blocked"},
		"451":            {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 451, Body: "<html>not here</html>"}, "strapi_blocked"},
		"503 HTML":       {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 503, Body: "<html>maintenance</html>", RetryAfter: "86400"}, ""},
		"401":            {fakestrapi.Fault{Kind: fakestrapi.FaultUnauthorized}, "strapi_token_refused"},
		"403":            {fakestrapi.Fault{Kind: fakestrapi.FaultForbidden}, "strapi_token_refused"},
		"route missing":  {fakestrapi.Fault{Kind: fakestrapi.FaultMissingRoute}, "strapi_unusable"},
		"down":           {fakestrapi.Fault{Kind: fakestrapi.FaultDown}, ""},
		"500":            {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500}, ""},
		"502 HTML":       {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 502, Body: "<html>bad gateway</html>"}, ""},
		"429":            {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 429, RetryAfter: "3600"}, ""},
		"404 HTML":       {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 404, Body: "<html>not found</html>"}, "strapi_unusable"},
		"redirect":       {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 302}, "strapi_blocked"},
		"400 everywhere": {fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 400}, "strapi_unusable"},
	}
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t)
			deal := h.Deal(fakestrapi.Values{"name": "stays"})
			billing := h.Billing(deal)
			require.NoError(t, h.refresh(deal))
			require.NoError(t, h.refresh(billing))

			h.Fake.Faults.Set(test.fault)
			for _, key := range []Key{deal, billing} {
				err := h.refresh(key)
				var snooze *river.JobSnoozeError
				require.ErrorAs(t, err, &snooze)
				e := h.Entity(key)
				require.Zero(t, e.Failures, "what speaks about Strapi counts no attempt")
				require.Equal(t, "pending", e.State)
			}
			require.Equal(t, 0, pgtest.MustGet[int](h.DB, "SELECT (SELECT count(*) FROM deal WHERE deleted_at IS NOT NULL) + (SELECT count(*) FROM billing WHERE deleted_at IS NOT NULL OR deal_document_id IS NULL)"))
			if test.alert != "" {
				require.Contains(t, h.OpenAlerts(), test.alert)
			} else {
				require.Empty(t, h.OpenAlerts())
			}

			h.Fake.Faults.Clear()
			require.NoError(t, h.sync.watchOnce(t.Context()))
			require.Empty(t, h.OpenAlerts(), "the alert resolves by itself")
			h.workPending()
			require.Equal(t, "ok", h.Entity(deal).State)
		})
	}
}

func TestSync_DeletedNeedsALiveCollection(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "stays"})
	require.NoError(t, h.refresh(key))
	// The document's route says 404 in Strapi's words, the list does not answer.
	h.Fake.Faults.Set(
		fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 404, Documents: []string{key.DocumentID}},
		fakestrapi.Fault{Kind: fakestrapi.FaultHTML},
	)
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, h.refresh(key), &snooze)
	require.Nil(t, pgtest.MustGet[*time.Time](h.DB, "SELECT deleted_at FROM deal"))
}

func TestSync_DeadLetter(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "poisoned"})
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: []string{key.DocumentID}})
	args := h.enqueue(key)

	for attempt := 1; attempt < 3; attempt++ {
		err := h.work(args)
		require.ErrorContains(t, err, "500")
		e := h.Entity(key)
		require.Equal(t, attempt, e.Failures)
		require.Equal(t, "pending", e.State)
		require.NotNil(t, e.Next)

		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.work(args), &snooze, "not before its time")
		h.EndBackoff(key)
	}
	var cancel *river.JobCancelError
	require.ErrorAs(t, h.work(args), &cancel)
	require.Equal(t, "dead", h.Entity(key).State)
	require.Equal(t, map[string]string{"event_dead_lettered": "error"}, h.OpenAlerts())
	require.NoError(t, h.work(args), "a dead document is left alone")

	h.Fake.Faults.Clear()
	require.NoError(t, h.refresh(key), "any bump revives it")
	require.Equal(t, "ok", h.Entity(key).State)
	require.Empty(t, h.OpenAlerts())
}

// Who reads of a dead letter knows the deal by its name and value, reads the cause in
// words, what is shown meanwhile and what became of it, and can open it in Strapi.
func TestSync_DeadLetterSays(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deal := h.Deal(fakestrapi.Values{"name": "Acme Corp", "deal_value": json.Number("1234567.5"), "currency": "THB"})
	require.NoError(t, h.refresh(deal))
	fresh := h.Billing(deal)
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: []string{deal.DocumentID, fresh.DocumentID}})
	die := func(key Key) {
		args := h.enqueue(key)
		for range 3 {
			require.Error(t, h.work(args))
			h.EndBackoff(key)
		}
		require.Equal(t, "dead", h.Entity(key).State)
	}
	die(deal)
	die(fresh)
	message := func(plural string) string {
		return h.MustText("SELECT message FROM alert WHERE rule = 'event_dead_lettered' AND subject = $1", plural)
	}
	require.Regexp(t, `^Acme Corp \(1,234,567\.50 THB\) could not be mirrored from Strapi \(pipeline-deals\): Strapi answers with its error 500 `+
		`\(Internal Server Error\) for this document, and answers for the others\. .*the dashboard show its state of 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC\.`,
		message("pipeline-deals"))
	require.Contains(t, message("billings"), "show nothing of it, because they do not have it")
	require.Equal(t, "https://cms.example/admin/content-manager/collection-types/api::pipeline-deal.pipeline-deal/"+deal.DocumentID,
		h.MustText("SELECT details->>'link' FROM alert WHERE subject = 'pipeline-deals'"))

	h.Fake.Faults.Clear()
	require.NoError(t, h.refresh(deal))
	require.Regexp(t, `^Acme Corp \(1,234,567\.50 THB\) in pipeline-deals is in step with Strapi again after .+: synchronised$`, message("pipeline-deals"))
}

// The correction of a document can arrive while its last attempt is under way: what
// Strapi answered to that attempt is from before it.
func TestSync_CorrectedDuringTheLastAttempt(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "poisoned"})
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: []string{key.DocumentID}})
	args := h.enqueue(key)
	for range 2 {
		require.ErrorContains(t, h.work(args), "500")
		h.EndBackoff(key)
	}
	var correction SyncArgs
	h.During(func() { correction = h.enqueue(key) })
	require.NoError(t, h.work(args), "the correction's job holds the document now")
	require.Equal(t, "pending", h.Entity(key).State)
	require.True(t, pgtest.MustGet[bool](h.DB, "SELECT next_attempt_at <= now() + interval '10 seconds' FROM entity_sync"), "not after the whole backoff")

	h.Fake.Faults.Clear()
	h.EndBackoff(key)
	require.NoError(t, h.work(correction))
	require.Equal(t, "ok", h.Entity(key).State)
	require.Empty(t, h.OpenAlerts())
}

// A document that takes its worker down with it is counted as well.
func TestSync_DyingWorkersAreCounted(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "killer"})
	args := h.enqueue(key)
	for range 3 { // as if the process died after step 1
		_, next, _, err := h.sync.begin(t.Context(), args)
		require.NoError(t, err)
		require.Equal(t, stepFetch, next)
		h.MustExec("UPDATE entity_sync SET attempt_expires_at = now() - interval '1 second'")
	}
	var cancel *river.JobCancelError
	require.ErrorAs(t, h.work(args), &cancel)
	require.Equal(t, "dead", h.Entity(key).State)
	require.Zero(t, h.Fake.Requests.Document(key.DocumentID))
}

func TestSync_SeveralWorkersOnOneDocumentCountOneAttempt(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "busy"})
	args := h.enqueue(key)
	for range 20 {
		_, next, _, err := h.sync.begin(t.Context(), args)
		require.NoError(t, err)
		require.Equal(t, stepFetch, next)
	}
	require.Equal(t, 1, h.Entity(key).Failures)
	require.NoError(t, h.work(args))
	require.Zero(t, h.Entity(key).Failures)
}

func TestSync_OpenBreakerAsksNothing(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) { c.Breaker.FailureThreshold = 5 })
	var keys []Key
	for range 6 {
		keys = append(keys, h.Deal(fakestrapi.Values{"name": "waits"}))
	}
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 503})
	var snooze *river.JobSnoozeError
	for _, key := range keys[:5] {
		require.ErrorAs(t, h.refresh(key), &snooze)
		h.sync.paused.clear(key.UID)
	}
	require.Equal(t, "open", h.MustText("SELECT state FROM circuit_breaker"))

	h.Fake.Requests.Reset()
	require.ErrorAs(t, h.refresh(keys[5]), &snooze)
	require.Greater(t, snooze.Duration, 50*time.Minute, "until the probe")
	require.Zero(t, h.Fake.Requests.Counts().Gets())
	require.Zero(t, h.Entity(keys[5]).Failures)
}

// A panic is counted against the document before River reports it.
func TestSync_PanicIsCounted(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(fakestrapi.Values{"name": "poison"})
	args := h.enqueue(key)
	h.During(func() { panic("poison") })
	require.PanicsWithValue(t, "poison", func() { _ = h.work(args) })
	e := h.Entity(key)
	require.Equal(t, 1, e.Failures)
	require.Equal(t, "panic: poison", *e.LastError)
	require.NotNil(t, e.Next, "it is tried again, later")

	h.EndBackoff(key)
	require.NoError(t, h.work(args))
	require.Equal(t, "ok", h.Entity(key).State)
}
