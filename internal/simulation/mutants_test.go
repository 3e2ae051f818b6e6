package simulation

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/riverqueue/river"

	"dealbox/internal/jobs"
	"dealbox/internal/strapi"
)

// mutant is a wrong protocol: a statement, an answer of Strapi or the receiver's
// answer is replaced, and production code stays as it is. It tests the simulation.
type mutant struct {
	name string
	// statement has parts of its SQL replaced: old, new, old, new.
	statement string
	parts     []string
	// outside is a statement that commits at once, whatever its transaction does.
	outside string
	// unique makes syncs unique by their document.
	unique *river.UniqueOpts
	// payload: what Strapi answers about a document is what arrived last about it.
	payload bool
	arrived map[string]string // by documentId
	// pages: lists are read by page number. unsorted: in the order of documentIds.
	pages, unsorted bool
	page            map[string]int // the last one, by list
	// noDrafts: a document without a published version is taken for deleted.
	noDrafts bool
	// unasked: the list answers, but whoever asks it for the breaker gets 503. So it opens as if nobody
	// had asked.
	unasked bool
	// silent: the list does not say that it has the document.
	silent bool
	// ill is what Strapi answers for half of the documents from the beginning, so that
	// a mutant which needs it is met sooner.
	ill int
	// early: the webhook is acknowledged whatever becomes of it.
	early bool
	// hot: all changes are about one deal, and nothing is lost or fails. A mutant
	// that needs two syncs of one document at once is met sooner so.
	hot bool
	// brief: few changes, of which only the last two matter to the mutant.
	brief bool
}

// right is the protocol as it is.
func right() *mutant { return &mutant{} }

// mutants are made anew for each history: some remember what arrived.
func mutants() []*mutant {
	return []*mutant{
		{name: "want read after the GET", statement: "EntityDone", parts: []string{"$1", "greatest($1, want_seq)", "$2", "greatest($2, events)"}},
		{name: "no compare-and-set", statement: "EntityDone", parts: []string{"AND version = $8", "AND $8::bigint IS NOT NULL"}},
		{name: "the loser marked done", statement: "EntityDone", parts: []string{"UPDATE", "WITH won AS (UPDATE", "\nRETURNING (SELECT", loserDone, "::integer AS breaker_failures", "::integer AS breaker_failures FROM won"}, hot: true, brief: true},
		{name: "River unique jobs as coalescer", unique: &jobs.LiveOnly().UniqueOpts},
		{name: "River unique jobs, completed ones too", unique: &river.UniqueOpts{ByArgs: true}},
		{name: "the payload applied as it arrives", payload: true},
		{name: "404 is deleted, drafts not asked", noDrafts: true},
		{name: "a tombstone without asking the list", silent: true, ill: http.StatusNotFound},
		{name: "the breaker opens without asking", unasked: true, ill: http.StatusInternalServerError},
		{name: "a success that began before the failures is ignored", statement: "EntityDone", parts: []string{"(SELECT b.failure_count FROM circuit_breaker b WHERE b.name = $9)", "(0 * length($9::text))"}, ill: http.StatusInternalServerError},
		{name: "the job inserted outside the transaction", outside: "JobInsert"},
		{name: "acknowledged before the commit", early: true},
		{name: "moved billings not looked at", statement: "BillingOfDeal", parts: []string{"WHERE", "WHERE false AND"}},
		{name: "a sweep that finds no deletions", statement: "ReconciliationGhostInsert", parts: []string{"\nWHERE", "\nWHERE false AND"}},
		{name: "lists read by page number", pages: true},
		{name: "lists in the order of documentIds", unsorted: true},
		{name: "ghosts in spite of an odd row", statement: "ReconciliationGhostInsert", parts: []string{"AND t.odd = 0", ""}},
		{name: "a document published twice is two", statement: "ReconciliationCompare", parts: []string{"DISTINCT ON (c.document_id, c.locale)", ""}},
		{name: "of two published rows the newest", statement: "ReconciliationCompare", parts: []string{">= $1::timestamptz", ">= $1::timestamptz - interval '1 year'"}},
		{name: "forecast: want read after the mirror", statement: "ForecastAdvance", parts: []string{"done = $1", "done = want + 0 * $1::bigint"}},
		{name: "forecast: marked outside the transaction", outside: "ForecastMark", hot: true, brief: true},
	}
}

// loserDone is the end of an EntityDone that writes done_seq even when another
// worker has won, and still reports that it lost.
const loserDone = `
    RETURNING 1), lost AS (UPDATE entity_sync SET
    done_seq = greatest(done_seq, $1), events_done = greatest(events_done, $2),
    state = CASE WHEN want_seq > greatest(done_seq, $1) THEN state ELSE 'ok' END,
    pending_since = CASE WHEN want_seq > greatest(done_seq, $1) THEN pending_since END
    WHERE uid = $5 AND document_id = $6 AND locale = $7 AND NOT EXISTS (SELECT FROM won))
SELECT (SELECT`

// rewrite makes a statement wrong.
func (m *mutant) rewrite(name, sql string) string {
	if name != m.statement {
		return sql
	}
	for i := 0; i < len(m.parts); i += 2 {
		if !strings.Contains(sql, m.parts[i]) {
			panic(fmt.Sprintf("the mutant %q is out of date: %q is not in %s", m.name, m.parts[i], sql))
		}
	}
	return strings.NewReplacer(m.parts...).Replace(sql)
}

// ask makes a request for a list another one.
func (m *mutant) ask(r *http.Request, id string) {
	q := r.URL.Query()
	after := q.Get("filters[id][$gt]")
	switch {
	case id != "" || q.Get("sort") == "":
		return
	case m.unsorted:
		q.Set("sort", "documentId:asc")
	case m.pages:
		if m.page == nil {
			m.page = map[string]int{}
		}
		list := r.URL.Path + q.Get("status")
		m.page[list]++
		if after == "" {
			m.page[list] = 1
		}
		q.Del("filters[id][$gt]")
		q.Set("pagination[page]", fmt.Sprint(m.page[list]))
	}
	r.URL.RawQuery = q.Encode()
}

// arrives notes each webhook.
func (m *mutant) arrives(body []byte) {
	if m.payload {
		if m.arrived == nil {
			m.arrived = map[string]string{}
		}
		env, _ := strapi.ParseEnvelope(body)
		m.arrived[env.DocumentID] = string(body)
	}
}

// answerFor is Strapi's answer, or nil for the right one.
func (m *mutant) answerFor(r *http.Request, id string) *http.Response {
	draft := r.URL.Query().Get("status") == "draft"
	body, known := m.arrived[id]
	query := r.URL.Query()
	switch {
	case m.unasked && id == "" && query.Get("fields[0]") == "documentId" && !query.Has("filters[documentId][$eq]"):
		return answer(http.StatusServiceUnavailable, "nobody asked")
	case m.silent && query.Has("filters[documentId][$eq]"):
		return answer(http.StatusOK, `{"data":[],"meta":{"pagination":{"page":1,"pageSize":1}}}`)
	case id == "":
		return nil
	case m.noDrafts && draft:
		return notFound()
	case !known:
		return nil
	}
	env, _ := strapi.ParseEnvelope([]byte(body))
	_, entry, _ := strings.Cut(strings.TrimSuffix(body, "}"), `"entry":`)
	isDraft := env.Event == strapi.EntryUnpublish || strings.Contains(entry, `"publishedAt":null`)
	if env.Event == strapi.EntryDelete || isDraft != draft {
		return notFound()
	}
	return answer(http.StatusOK, `{"data":`+entry+`,"meta":{}}`)
}

func notFound() *http.Response {
	return answer(http.StatusNotFound, `{"data":null,"error":{"status":404,"name":"NotFoundError","message":"Not Found","details":{}}}`)
}
