package simulation

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/circuit"
)

// evidence is what is known about Strapi and the breaker beside the database.
type evidence struct {
	// listFailed has the types whose list failed since the breaker closed last, by
	// plural; a list that was not answered in time failed, too.
	listFailed map[string]bool
	// counted is how many failures were counted on the breaker. doneAt says how many it
	// were when a worker read the count, with what Strapi had answered it. spared are
	// workers that met a fault since, so that they may have recorded no success.
	counted int
	doneAt  map[string]int
	spared  map[string]bool
}

func newEvidence() evidence {
	return evidence{listFailed: map[string]bool{}, doneAt: map[string]int{}, spared: map[string]bool{}}
}

// noteList notes that the list of a type failed.
func (e *evidence) noteList(r *http.Request, failed bool) {
	if plural, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/"); failed && id == "" {
		e.listFailed[plural] = true
	}
}

// noteStatement notes a statement that a worker has run.
func (e *evidence) noteStatement(who, name string) {
	switch name {
	case "EntityBegin":
		delete(e.doneAt, who)
		delete(e.spared, who)
	case "EntityDone":
		e.doneAt[who] = e.counted
	}
}

// noteCommit notes a transaction: one that writes the breaker's row may count a failure.
func (e *evidence) noteCommit(wrote []string) {
	if slices.Contains(wrote, "circuit_breaker") {
		e.counted++
	}
}

// spare notes that a statement of a worker failed.
func (e *evidence) spare(who string) { e.spared[who] = true }

// breakerMove is a row of circuit_breaker_event.
type breakerMove struct {
	Generation      int64
	From, To, Actor string
}

func (p postgresFacts) breakerMoves(after int64) ([]breakerMove, error) {
	return collect(p.postgres, `SELECT generation, from_state, to_state, actor FROM circuit_breaker_event WHERE generation > $1 ORDER BY generation`,
		func(rows pgx.Rows) (m breakerMove, err error) {
			err = rows.Scan(&m.Generation, &m.From, &m.To, &m.Actor)
			return m, err
		}, after)
}

func (p postgresFacts) breakerFailures() (n int, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT CASE state WHEN 'closed' THEN failure_count ELSE 0 END FROM circuit_breaker").Scan(&n)
	return n, err
}

// asksFirst: the breaker opens by itself only when no type's list is answered.
func (w *watch) asksFirst(h *history) error {
	moves, err := h.facts.breakerMoves(w.generation)
	if err != nil {
		return err
	}
	for _, m := range moves {
		w.generation = m.Generation
		switch {
		case m.To == string(circuit.Closed):
			clear(h.listFailed)
		case m.From == string(circuit.Closed) && m.Actor == circuit.Self:
			for _, t := range contentTypes {
				if !h.listFailed[t.Plural] {
					return violated("asks before it opens", "the breaker opened, and the list of %s did not fail", t.Plural)
				}
			}
		}
	}
	return nil
}

// endsRun: when a sync has ended well, the breaker counts no failure from before what
// Strapi answered it.
func (w *watch) endsRun(h *history, worker string) error {
	at, ok := h.doneAt[worker]
	if !ok || h.spared[worker] {
		return nil
	}
	count, err := h.facts.breakerFailures()
	if err == nil && count > h.counted-at {
		err = violated("a success ends the run", "%s ended well, and the breaker counts %d failures, of which %d came later", worker, count, h.counted-at)
	}
	return err
}
