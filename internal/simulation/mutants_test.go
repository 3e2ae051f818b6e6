package simulation

import (
	"net/http"
	"strings"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// mutant is a wrong protocol: a statement, an answer of Strapi or the door is
// replaced, and production code stays as it is. It tests the simulation.
type mutant struct {
	name string
	// statements replace those of the memory.
	statements map[string]statement
	// payload: what Strapi answers about a document is what arrived last about it.
	payload bool
	arrived map[string]string // by documentId
	// noDrafts: a document without a published version is taken for deleted.
	noDrafts bool
	// early: the webhook is acknowledged whatever becomes of it.
	early bool
}

// right is the protocol as it is.
func right() *mutant { return &mutant{} }

// mutants are made anew for each history: some remember what arrived.
func mutants() []*mutant {
	return []*mutant{
		{name: "want read after the GET", statements: map[string]statement{"EntityDone": exec(wantAtTheEnd)}},
		{name: "no compare-and-set", statements: map[string]statement{"EntityDone": exec(noCompare)}},
		{name: "the loser marked done", statements: map[string]statement{"EntityDone": exec(loserDone)}},
		{name: "River unique jobs as coalescer", statements: map[string]statement{"JobInsert": exec(uniqueLive)}},
		{name: "River unique jobs, completed ones too", statements: map[string]statement{"JobInsert": exec(uniqueEver)}},
		{name: "the payload applied as it arrives", payload: true},
		{name: "404 is deleted, drafts not asked", noDrafts: true},
		{name: "the job inserted outside the transaction", statements: map[string]statement{"JobInsert": exec(jobAtOnce)}},
		{name: "acknowledged before the commit", early: true},
		{name: "moved billings not looked at", statements: map[string]statement{"BillingOfDeal": many(noBillings)}},
		{name: "a sweep that finds no deletions", statements: map[string]statement{"ReconciliationGhostInsert": exec(noGhosts)}},
		{name: "forecast: want read after the mirror", statements: map[string]statement{"ForecastAdvance": one(forecastWantAtTheEnd)}},
		{name: "forecast: marked outside the transaction", statements: map[string]statement{"ForecastMark": one(markAtOnce)}},
	}
}

func wantAtTheEnd(tx *memoryTx, p dbsqlc.EntityDoneParams) int64 {
	e, _ := tx.db.entities.get(tx, mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale})
	p.WantSeq, p.Events = e.Want, e.Events
	return entityDone(tx, p)
}

func noCompare(tx *memoryTx, p dbsqlc.EntityDoneParams) int64 {
	return writeDone(tx, p, always)
}

func loserDone(tx *memoryTx, p dbsqlc.EntityDoneParams) int64 {
	won := entityDone(tx, p)
	if won == 0 {
		key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
		tx.db.entities.update(tx, key, always, func(e *entity) {
			e.Done, e.EventsDone = max(e.Done, p.WantSeq), max(e.EventsDone, p.Events)
			if e.Done == e.Want {
				e.State = "ok"
			}
		})
	}
	return won
}

// uniqueJobs insert no sync of a document that has one in a state which blocks.
func uniqueJobs(tx *memoryTx, all []insertion, blocks func(jobRow) bool) int64 {
	for _, i := range all {
		args, ok := i.args.(mirror.SyncArgs)
		if ok && tx.anyJob(func(j jobRow) bool {
			other, ok := j.Args.(mirror.SyncArgs)
			other.Seq = args.Seq
			return ok && other == args && blocks(j)
		}) {
			continue
		}
		jobInsert(tx, []insertion{i})
	}
	return 0
}

func uniqueLive(tx *memoryTx, all []insertion) int64 { return uniqueJobs(tx, all, jobRow.live) }
func uniqueEver(tx *memoryTx, all []insertion) int64 { return uniqueJobs(tx, all, always) }

// jobAtOnce sends the job to another system, as it were.
func jobAtOnce(tx *memoryTx, all []insertion) int64 {
	other := tx.db.auto()
	defer func() { _ = other.Commit(nil) }() //nolint:staticcheck // the memory's Commit reads no context
	return jobInsert(other, all)
}

func noBillings(*memoryTx, dbsqlc.BillingOfDealParams) []dbsqlc.BillingOfDealRow { return nil }

func noGhosts(*memoryTx, dbsqlc.ReconciliationGhostInsertParams) int64 { return 0 }

func forecastWantAtTheEnd(tx *memoryTx, p dbsqlc.ForecastAdvanceParams) (dbsqlc.ForecastAdvanceRow, bool) {
	s, _ := tx.db.scopes.get(tx, p.Scope)
	p.Done = s.Want
	return forecastAdvance(tx, p)
}

func markAtOnce(tx *memoryTx, name string) (bool, bool) {
	if holder, ok := tx.db.locks[rowLock[string, scope]{&tx.db.scopes, name}]; ok && holder != tx {
		panic(locked{})
	}
	other := tx.db.auto()
	defer func() { _ = other.Commit(nil) }() //nolint:staticcheck // the memory's Commit reads no context
	return forecastMark(other, name)
}

// arrives is told of each webhook.
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
