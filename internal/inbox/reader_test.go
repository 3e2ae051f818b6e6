package inbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/paging"
)

const dealUID = "api::pipeline-deal.pipeline-deal"

// daysAgo moves what was stored today to an earlier day, under a partition of its own.
func (h *env) daysAgo(days int) {
	h.T.Helper()
	h.MustExec(fmt.Sprintf(`DO $$ DECLARE day date := (now() AT TIME ZONE 'UTC')::date - %d; BEGIN
		EXECUTE format('CREATE TABLE inbox_event_%%s PARTITION OF inbox_event FOR VALUES FROM (%%L) TO (%%L)', to_char(day, 'YYYYMMDD'), day, day + 1);
		ALTER TABLE inbox_event DISABLE TRIGGER USER;
		UPDATE inbox_event SET received_on = day, received_at = received_at - interval '%d days' WHERE received_on = (now() AT TIME ZONE 'UTC')::date;
		ALTER TABLE inbox_event ENABLE TRIGGER USER;
	END $$`, days, days))
}

// stock stores events of every status on three days and returns them by status.
func (h *env) stock() map[Status][]uuid.UUID {
	h.T.Helper()
	all := map[Status][]uuid.UUID{}
	for day := 3; day >= 1; day-- {
		put := func(status Status, n int, body string) {
			id := h.receive(fmt.Sprintf("msg_%d_%s_%d", day, status, n), body).EventID
			all[status] = append(all[status], id)
		}
		for n := range 4 {
			put(StatusProcessed, n, update(fmt.Sprintf("done%d", n)))
			put(StatusDead, n, update(fmt.Sprintf("dead%d", n%2)))
			put(StatusIgnored, n, `{"event":"entry.update","model":"page","uid":"api::page.page","entry":{"documentId":"page1"}}`)
			put(StatusQuarantined, n, fmt.Sprintf(`{"event": %d`, n))
		}
		h.MustExec("UPDATE entity_sync SET done_seq = want_seq, events_done = events, state = 'ok', pending_since = NULL WHERE document_id LIKE 'done%'")
		for n := range 4 {
			put(StatusPending, n, update(fmt.Sprintf("done%d", n))) // the same documents, once more
		}
		if day > 1 {
			for n := range 4 { // but for the last day the next ones are done as well
				all[StatusProcessed] = append(all[StatusProcessed], all[StatusPending][n])
			}
			all[StatusPending] = nil
			h.MustExec("UPDATE entity_sync SET done_seq = want_seq, events_done = events, state = 'ok', pending_since = NULL WHERE document_id LIKE 'done%'")
			h.daysAgo(day)
		}
	}
	h.MustExec("UPDATE entity_sync SET state = 'dead', dead_at = now(), failures = 12, last_error = 'no' WHERE document_id LIKE 'dead%'")
	return all
}

// turn reads all pages of a list.
func (h *env) turn(f Filter) []Event {
	h.T.Helper()
	var all []Event
	for {
		page, err := List(h.T.Context(), h.Pool, f)
		require.NoError(h.T, err)
		require.LessOrEqual(h.T, len(page.Events), f.Limit)
		all = append(all, page.Events...)
		if page.NextCursor == nil {
			return all
		}
		require.NotEmpty(h.T, page.Events)
		f.Cursor = *page.NextCursor
	}
}

func ids(events []Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.ID.String())
	}
	return all
}

func sorted(list []uuid.UUID) []string {
	var all []string
	for _, id := range list {
		all = append(all, id.String())
	}
	slices.Sort(all)
	return all
}

func TestList_EachEventExactlyOnce(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	stock := h.stock()
	var everything []uuid.UUID
	for status, want := range stock {
		everything = append(everything, want...)
		for _, limit := range []int{1, 5, 1000} {
			got := ids(h.turn(Filter{Statuses: []Status{status}, Limit: limit}))
			slices.Sort(got)
			require.Equal(t, sorted(want), got, "%s by %d", status, limit)
		}
	}
	for _, filter := range []Filter{{}, {Statuses: Statuses()}, {Event: "entry.update", Statuses: []Status{StatusPending, StatusDead, StatusProcessed}}} {
		var listed []string
		for _, limit := range []int{1, 7, 1000} {
			filter.Limit = limit
			got := ids(h.turn(filter))
			if listed == nil {
				listed = got
			}
			require.Equal(t, listed, got, "the same order whatever the page")
		}
		if filter.Event == "" {
			slices.Sort(listed)
			require.Equal(t, sorted(everything), listed)
		}
	}
	all := h.turn(Filter{Limit: 1000})
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		require.True(t, a.ReceivedAt.After(b.ReceivedAt) || a.ID.String() > b.ID.String(), "newest first")
	}
}

// Wherever the statement starts, it answers what the view says.
func TestList_EveryFilterIsTheView(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.stock()
	middle := time.Now().UTC().Add(-36 * time.Hour)
	statuses := [][]Status{nil}
	for set := 1; set < 1<<len(Statuses()); set++ {
		var these []Status
		for i, s := range Statuses() {
			if set&(1<<i) != 0 {
				these = append(these, s)
			}
		}
		statuses = append(statuses, these)
	}
	for _, these := range statuses {
		for _, f := range []Filter{
			{}, {Event: "entry.update"}, {Event: "entry.delete"}, {Entity: "pipeline-deal"}, {Entity: dealUID}, {Entity: "page"},
			{DocumentID: "done1"}, {DocumentID: "dead1"}, {DocumentID: "page1"}, {DocumentID: "nothing"},
			{Since: middle}, {Until: middle}, {DocumentID: "done1", Since: middle}, {Since: middle, Until: middle},
		} {
			f.Statuses, f.Limit = these, 1000
			args, err := f.args()
			require.NoError(t, err)
			rows, err := h.Pool.Query(t.Context(), `SELECT id FROM inbox_event_status WHERE status = ANY (@statuses::text[])
				AND (@event::text = '' OR event = @event) AND (@entity::text = '' OR @entity IN (model, uid)) AND (@document_id::text = '' OR document_id = @document_id)
				AND received_at >= @since AND received_at < @until ORDER BY received_on DESC, id DESC`, args)
			require.NoError(t, err)
			want, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			require.NoError(t, err)
			got := h.turn(f)
			require.Len(t, got, len(want), "%+v", f)
			for i := range want {
				require.Equal(t, want[i], got[i].ID, "%+v", f)
			}
			replayed, err := h.replayer().All(t.Context(), f, "cli:ann", true)
			require.NoError(t, err)
			require.EqualValues(t, len(want), replayed.Events, "a replay chooses what the list shows: %+v", f)
		}
	}
}

func TestList_RefusesABadFilter(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	for field, f := range map[string]Filter{
		"limit": {Limit: 1001}, "cursor": {Cursor: "MQ"}, "event": {Event: "a\x00"}, "entity": {Entity: "\xff"}, "document_id": {DocumentID: "a\nb"},
	} {
		_, err := List(t.Context(), h.Pool, f)
		var wrong *paging.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, field, wrong.Field)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.daysAgo(2)
	body := update("abc")
	id := h.receive("msg_1", body).EventID
	h.MustExec("INSERT INTO mirror_change (uid, document_id, locale, seq, kind, after) VALUES ($1, 'abc', '', 1, 'created', '{\"name\": \"x\"}')", dealUID)
	h.MustExec("INSERT INTO mirror_change (uid, document_id, locale, seq, kind) VALUES ($1, 'abc', '', 2, 'updated')", dealUID)
	h.MustExec(`UPDATE river.river_job SET state = 'retryable', attempt = 3, errors = ARRAY['{"at":"2026-11-23T10:00:00Z","attempt":1,"error":"503","trace":"goroutine 1"}']::jsonb[]`)
	h.MustExec("UPDATE entity_sync SET failures = 3, last_error = 'HTTP 503'")

	s, err := Get(t.Context(), h.Pool, id)
	require.NoError(t, err)
	require.Equal(t, body, *s.Body)
	require.Equal(t, StatusPending, s.Status)
	require.Equal(t, "standard", s.Scheme)
	require.Equal(t, "pipeline-deal", s.Entity)
	require.NotNil(t, s.SentAt)
	require.EqualValues(t, 1, *s.Seq)
	require.Equal(t, "HTTP 503", *s.Document.LastError)
	require.Equal(t, 3, s.Document.Failures)
	require.Len(t, s.Jobs, 1)
	require.Equal(t, 3, s.Jobs[0].Attempts)
	require.Equal(t, []JobError{{At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Attempt: 1, Error: "503"}}, s.Jobs[0].Errors)
	require.Equal(t, "created", s.Changed.Kind)

	broken, err := Get(t.Context(), h.Pool, h.receive("msg_2", "{\xff").EventID)
	require.NoError(t, err)
	require.Nil(t, broken.Body)
	require.Equal(t, "{\xff", string(broken.BodyBase64))
	require.Equal(t, StatusQuarantined, broken.Status)
	require.NotEmpty(t, broken.QuarantineReason)
	require.Empty(t, broken.Jobs)

	_, err = Get(t.Context(), h.Pool, uuid.New())
	require.ErrorIs(t, err, ErrNoEvent)
}

// An event is found on whichever day it was stored.
func TestGet_FindsAnEventOfAnotherDay(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	id := h.receive("msg_1", update("abc")).EventID
	h.daysAgo(40)
	s, err := Get(t.Context(), h.Pool, id)
	require.NoError(t, err)
	require.Equal(t, id, s.ID)
}

func (h *env) replayer() *Replayer {
	h.T.Helper()
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(h.T, err)
	return NewReplayer(h.Pool, mirror.NewQueue(inserter), contentTypes)
}

func TestReplayer_All_RevivesDead(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	stock := h.stock()
	h.MustExec("DELETE FROM river.river_job")
	before := h.ledger()
	dead := Filter{Statuses: []Status{StatusDead}}

	dry, err := h.replayer().All(t.Context(), dead, "cli:ann", true)
	require.NoError(t, err)
	require.Equal(t, Replayed{DryRun: true, Events: int64(len(stock[StatusDead])), Documents: 2}, dry)
	require.Equal(t, before, h.ledger(), "a dry run changes nothing")
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM river.river_job"))

	done, err := h.replayer().All(t.Context(), dead, "cli:ann", false)
	require.NoError(t, err)
	require.Equal(t, Replayed{Events: int64(len(stock[StatusDead])), Documents: 2}, done)
	after := h.ledger()
	require.Zero(t, after.Dead)
	require.Equal(t, before.Pending+before.Dead, after.Pending)
	require.Equal(t, before.Received, after.Received, "a replay is no event")
	require.Equal(t, "pending 0 true", h.MustText("SELECT DISTINCT state || ' ' || failures || ' ' || (dead_at IS NULL) FROM entity_sync WHERE document_id LIKE 'dead%'"))
	require.Equal(t, "2", h.MustText(`SELECT count(*)::text FROM river.river_job j JOIN entity_sync e
		ON e.document_id = j.args->>'document_id' AND (j.args->>'seq')::bigint = e.want_seq`))
}

// More documents than one transaction takes.
func TestReplayer_All_InChunks(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, events, state, dead_at) SELECT $1, 'd' || n, 1, 1, 'dead', now() FROM generate_series(1, 1201) n", dealUID)
	h.MustExec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, event, uid, document_id, locale, seq, body)
		SELECT gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, now(), sha256(document_id::bytea), 'standard', 'entry.update', uid, document_id, '', 1, '' FROM entity_sync`)
	done, err := h.replayer().All(t.Context(), Filter{Statuses: []Status{StatusDead}}, "cli:ann", false)
	require.NoError(t, err)
	require.Equal(t, Replayed{Events: 1201, Documents: 1201}, done)
	require.Equal(t, "1201", h.MustText("SELECT count(*)::text FROM river.river_job"))
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM entity_sync WHERE state = 'dead'"))
}

func TestReplayer_One(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	entry := func(uid string) string {
		return `{"event":"entry.update","model":"thing","uid":"` + uid + `","entry":{"documentId":"late"}}`
	}
	for name, c := range map[string]struct {
		body string
		want Replayed
	}{
		"Mirrored":        {update("abc"), Replayed{Events: 1, Documents: 1}},
		"OtherType":       {entry("api::page.page"), Replayed{Events: 1, NothingToReplay: 1}},
		"NoEntry":         {`{"event":"trigger-test"}`, Replayed{Events: 1, NothingToReplay: 1}},
		"Unreadable":      {`{"event":`, Replayed{Events: 1, NothingToReplay: 1}},
		"ConfiguredSince": {entry("api::late.late"), Replayed{Events: 1, Documents: 1}},
		"DraftDiscarded":  {`{"event":"entry.draft-discard","uid":"` + dealUID + `","entry":{"documentId":"abc"}}`, Replayed{Events: 1, Documents: 1}},
	} {
		id := h.receive("msg_"+name, c.body).EventID
		r := h.replayer()
		r.types["api::late.late"] = contentTypes[0] // was not configured when the event came
		done, err := r.One(t.Context(), id, "cli:ann", false)
		require.NoError(t, err, name)
		require.Equal(t, c.want, done, name)
	}
	require.Equal(t, "1 pending", h.MustText("SELECT want_seq || ' ' || state FROM entity_sync WHERE document_id = 'late'"))
	require.Equal(t, "ignored", h.MustText("SELECT DISTINCT status FROM inbox_event_status WHERE document_id = 'late'"), "a stored row is never updated")
	h.ledger()
	_, err := h.replayer().One(t.Context(), uuid.New(), "cli:ann", false)
	require.ErrorIs(t, err, ErrNoEvent)
}

// A document that died in the first load or a reconciliation has no event. A replay
// finds it by everything that the filter can say of a document.
func TestReplayer_All_FindsDocumentsWithoutEvent(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.receive("msg_1", update("named"))
	h.MustExec("UPDATE entity_sync SET state = 'dead', dead_at = now()")
	h.MustExec(`INSERT INTO entity_sync (uid, document_id, want_seq, state, dead_at, pending_since) VALUES
		($1, 'a', 1, 'dead', now(), now()), ($1, 'b', 3, 'dead', now(), now() - interval '2 days'), ('api::billing.billing', 'c', 1, 'dead', now(), now())`, dealUID)
	h.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, state, pending_since) VALUES ($1, 'waits', 1, 'pending', now())", dealUID)
	h.MustExec("INSERT INTO entity_sync (uid, document_id, want_seq, done_seq) VALUES ($1, 'fine', 1, 1)", dealUID)
	for name, c := range map[string]struct {
		filter Filter
		want   Replayed
	}{
		"Dead":         {Filter{Statuses: []Status{StatusDead}}, Replayed{Events: 1, Documents: 4, WithoutEvent: 3}},
		"Pending":      {Filter{Statuses: []Status{StatusPending}}, Replayed{Documents: 1, WithoutEvent: 1}},
		"Processed":    {Filter{Statuses: []Status{StatusProcessed}}, Replayed{}},
		"Uid":          {Filter{Statuses: []Status{StatusDead}, Entity: dealUID}, Replayed{Events: 1, Documents: 3, WithoutEvent: 2}},
		"Model":        {Filter{Statuses: []Status{StatusDead}, Entity: "billing"}, Replayed{Documents: 1, WithoutEvent: 1}},
		"Document":     {Filter{DocumentID: "b"}, Replayed{Documents: 1, WithoutEvent: 1}},
		"Since":        {Filter{Statuses: []Status{StatusDead}, Since: time.Now().Add(-time.Hour)}, Replayed{Events: 1, Documents: 3, WithoutEvent: 2}},
		"NamesAnEvent": {Filter{Statuses: []Status{StatusDead}, Event: "entry.update"}, Replayed{Events: 1, Documents: 1}},
	} {
		c.want.DryRun = true
		got, err := h.replayer().All(t.Context(), c.filter, "cli:ann", true)
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}
	dead, err := ListBehind(t.Context(), h.Pool, StateDead, 2)
	require.NoError(t, err)
	require.Len(t, dead.Documents, 2)
	require.EqualValues(t, 4, dead.Total)
	done, err := h.replayer().All(t.Context(), Filter{Statuses: []Status{StatusDead}}, "cli:ann", false)
	require.NoError(t, err)
	require.EqualValues(t, 4, done.Documents)
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM entity_sync WHERE state = 'dead'"))
	require.Equal(t, "5", h.MustText("SELECT count(*)::text FROM river.river_job"), "each has a job")
	require.Equal(t, `cli:ann replay {"events": 1, "status": ["dead"], "documents": 4}`, h.MustText("SELECT actor || ' ' || action || ' ' || details::text FROM audit_operator"))
}

// A probe does what a delivery does, and leaves nothing.
func TestReceiver_Probe(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	require.NoError(t, h.receiver.Probe(t.Context()))
	require.Equal(t, "0 0 0 0", h.MustText(`SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event), (SELECT count(*) FROM entity_sync),
		(SELECT count(*) FROM river.river_job), (SELECT sum(received) FROM inbox_counter))`))
	h.MustExec("ALTER TABLE entity_sync RENAME TO away")
	require.Error(t, h.receiver.Probe(t.Context()))
}
