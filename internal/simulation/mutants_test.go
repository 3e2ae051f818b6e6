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
	// noDrafts: a document without a published version is taken for deleted.
	noDrafts bool
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
		{name: "no compare-and-set", statement: "EntityDone", parts: []string{"AND version = $7", "AND $7::bigint IS NOT NULL"}},
		{name: "the loser marked done", statement: "EntityDone", parts: []string{"UPDATE", "WITH won AS (UPDATE", "version = $7", loserDone}, hot: true, brief: true},
		{name: "River unique jobs as coalescer", unique: &jobs.LiveOnly().UniqueOpts},
		{name: "River unique jobs, completed ones too", unique: &river.UniqueOpts{ByArgs: true}},
		{name: "the payload applied as it arrives", payload: true},
		{name: "404 is deleted, drafts not asked", noDrafts: true},
		{name: "the job inserted outside the transaction", outside: "JobInsert"},
		{name: "acknowledged before the commit", early: true},
		{name: "moved billings not looked at", statement: "BillingOfDeal", parts: []string{"WHERE", "WHERE false AND"}},
		{name: "a sweep that finds no deletions", statement: "ReconciliationGhostInsert", parts: []string{"\nWHERE", "\nWHERE false AND"}},
		{name: "forecast: want read after the mirror", statement: "ForecastAdvance", parts: []string{"done = $1", "done = want + 0 * $1::bigint"}},
		{name: "forecast: marked outside the transaction", outside: "ForecastMark", hot: true},
	}
}

// loserDone is the end of an EntityDone that writes done_seq even when another
// worker has won, and still reports that it lost.
const loserDone = `version = $7 RETURNING 1), lost AS (UPDATE entity_sync SET
    done_seq = greatest(done_seq, $1), events_done = greatest(events_done, $2),
    state = CASE WHEN want_seq > greatest(done_seq, $1) THEN state ELSE 'ok' END,
    pending_since = CASE WHEN want_seq > greatest(done_seq, $1) THEN pending_since END
    WHERE uid = $4 AND document_id = $5 AND locale = $6 AND NOT EXISTS (SELECT FROM won))
SELECT FROM won`

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
	switch {
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
