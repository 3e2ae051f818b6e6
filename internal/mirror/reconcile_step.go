package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/pgerr"
	"dealbox/internal/strapi"
)

// sweep is a run as this runner works it. Its cursor is in the row: each step
// moves it in the transaction of what it found, so that a crash repeats a step
// and loses none.
type sweep struct {
	w    *ReconcileWorker
	run  dbsqlc.ReconciliationRun
	seen circuit.Snapshot
	// drafts says of each type that was listed whether it has drafts.
	drafts map[string]bool
}

// step does the next part: one range of a type's list, or some ghosts. It holds
// one page in memory, and no transaction while it asks Strapi.
func (s *sweep) step(ctx context.Context) (over bool, err error) {
	types := s.w.sync.cfg.Types
	stage := int(s.run.Stage)
	switch {
	case stage < len(types):
		return false, s.list(ctx, types[stage])
	case s.run.Kind == string(Full) && stage < 2*len(types):
		return false, s.ghosts(ctx, types[stage-len(types)])
	}
	return true, nil
}

// endOfIDs sorts behind every documentId: it is the last character there is.
const endOfIDs = "\U0010FFFF"

// list compares one range of a type's list with the mirror.
func (s *sweep) list(ctx context.Context, t strapi.ContentType) error {
	drafts, published, err := s.pages(ctx, t)
	if err != nil {
		return fmt.Errorf("list %s: %w", t.Plural, err)
	}
	docs, upto := merge(t.UID, drafts, published)
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage, Cursor: upto, Listed: int64(len(docs))}
	if upto == "" {
		move.Stage++
	}
	if s.run.Cursor == "" {
		move.Expected = int64(max(drafts.Total, published.Total))
	}
	if date := drafts.Date; !date.IsZero() {
		move.AnsweredAt = &date
	} else if date = published.Date; !date.IsZero() {
		move.AnsweredAt = &date
	}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		found, err := s.w.compare(ctx, tx, s.run, t, docs)
		if err != nil {
			return err
		}
		if err := s.record(ctx, tx, found, move); err != nil {
			return err
		}
		if s.run.Kind == string(Full) {
			move.Ghosts, err = dbsqlc.New().ReconciliationGhostInsert(ctx, tx, dbsqlc.ReconciliationGhostInsertParams{
				RunID: s.run.ID, Baseline: s.run.Baseline, UID: t.UID, After: s.run.Cursor, Upto: cmp.Or(upto, endOfIDs),
				Listed: ids(docs), ListedLocales: locales(docs), LeaseSeconds: runLease.Seconds(),
			})
			if err != nil {
				return fmt.Errorf("find ghosts: %w", err)
			}
		}
		return nil
	})
}

// pages asks for both versions, drafts first: a document that is published or
// deleted between the two answers is then seen as what it became.
func (s *sweep) pages(ctx context.Context, t strapi.ContentType) (drafts, published strapi.Page, err error) {
	q := strapi.ListQuery{Version: strapi.Draft, After: s.run.Cursor, PageSize: s.w.cfg.PageSize}
	if s.run.Since != nil {
		q.Since = *s.run.Since
	}
	if has, known := s.drafts[t.UID]; has || !known {
		if drafts, err = s.page(ctx, t, q); err != nil {
			return drafts, published, err
		}
		if s.drafts[t.UID] = hasDrafts(drafts); !s.drafts[t.UID] {
			drafts = strapi.Page{Date: drafts.Date} // the same documents as the published ones
		}
	}
	q.Version = strapi.Published
	published, err = s.page(ctx, t, q)
	return drafts, published, err
}

// page is one with at least one whole document, else the sweep could not go on.
func (s *sweep) page(ctx context.Context, t strapi.ContentType, q strapi.ListQuery) (strapi.Page, error) {
	page, err := s.w.sync.source.list(ctx, t, q, s.seen)
	if err == nil && page.More && len(page.Documents) == 0 {
		err = errors.New("a document has more locales than Strapi lists on one page: raise api.rest.maxLimit in Strapi's config/api")
	}
	return page, err
}

// record asks for a look at each difference, and keeps it for the audit. Before
// the first full run nothing is a difference: Dealbox is new.
func (s *sweep) record(ctx context.Context, tx pgx.Tx, found []difference, move *dbsqlc.ReconciliationAdvanceParams) error {
	looks := make([]Refresh, len(found))
	var kinds []string
	for i, d := range found {
		looks[i].Key = d.key
		kinds = append(kinds, d.kind)
		if d.kind == "missing" {
			move.Missing++
		} else {
			move.Stale++
		}
	}
	move.Enqueued = int64(len(looks))
	if s.run.Baseline && len(found) > 0 {
		uids, docs, locales, _ := columns(looks)
		err := dbsqlc.New().ReconciliationDifferenceInsert(ctx, tx, dbsqlc.ReconciliationDifferenceInsertParams{
			RunID: s.run.ID, Uids: uids, DocumentIds: docs, Locales: locales, Kinds: kinds,
		})
		if err != nil {
			return fmt.Errorf("keep differences: %w", err)
		}
	}
	// After the differences: what they say of pending documents is from before this look.
	_, err := s.w.sync.queue.Enqueue(ctx, tx, looks)
	return err
}

// transact runs a step's writes and moves the cursor with them, again after a
// conflict. It writes nothing when another runner has taken over.
func (s *sweep) transact(ctx context.Context, move *dbsqlc.ReconciliationAdvanceParams,
	write func(pgx.Tx, *dbsqlc.ReconciliationAdvanceParams) error,
) (err error) {
	start := *move
	for range conflictTries {
		*move = start
		err = pgx.BeginFunc(ctx, s.w.sync.pool, func(tx pgx.Tx) error {
			if err := write(tx, move); err != nil {
				return err
			}
			move.ID, move.Generation, move.LeaseSeconds = s.run.ID, s.run.Generation, runLease.Seconds()
			rows, err := dbsqlc.New().ReconciliationAdvance(ctx, tx, *move)
			if err == nil && rows == 0 {
				err = errTakenOver
			}
			return err
		})
		if !pgerr.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write a step of reconciliation %d: %w", s.run.ID, err)
	}
	s.run.Stage, s.run.Cursor = move.Stage, move.Cursor
	return nil
}

// ghostChunk is how many ghosts one transaction hands on.
const ghostChunk = 200

// ghostsJudged is the cursor of a ghost stage once the guard has let them pass.
const ghostsJudged = "judged"

// ghosts hands on what the mirror has and Strapi has not, when the whole list
// was read and the guard agrees. Each is then looked at like any other document.
func (s *sweep) ghosts(ctx context.Context, t strapi.ContentType) error {
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage}
	if s.run.Cursor != ghostsJudged {
		return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
			return s.judge(ctx, tx, t, move)
		})
	}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		taken, err := dbsqlc.New().ReconciliationGhostTake(ctx, tx, dbsqlc.ReconciliationGhostTakeParams{
			RunID: s.run.ID, UID: t.UID, MaxRows: ghostChunk,
		})
		if err != nil {
			return fmt.Errorf("take ghosts: %w", err)
		}
		looks := make([]Refresh, len(taken))
		for i, g := range taken {
			looks[i].Key = Key{t.UID, g.DocumentID, g.Locale}
		}
		move.Enqueued, move.Cursor = int64(len(looks)), ghostsJudged
		if len(looks) < ghostChunk {
			move.Stage, move.Cursor = move.Stage+1, ""
		}
		_, err = s.w.sync.queue.Enqueue(ctx, tx, looks)
		return err
	})
}

// judge asks the guard about all ghosts of a type together: too many, and none
// of them is handed on.
func (s *sweep) judge(ctx context.Context, tx pgx.Tx, t strapi.ContentType, move *dbsqlc.ReconciliationAdvanceParams) error {
	if s.run.AllowDeletes {
		if err := s.allow(ctx, tx, t); err != nil {
			return err
		}
	}
	n, err := dbsqlc.New().ReconciliationGhostCount(ctx, tx, dbsqlc.ReconciliationGhostCountParams{RunID: s.run.ID, UID: t.UID})
	if err != nil {
		return fmt.Errorf("count ghosts: %w", err)
	}
	guard, err := readGuard(ctx, tx, t.UID)
	if err != nil {
		return err
	}
	guard.empty = n.Waiting >= guard.live // the list showed none of them
	if guard.holdsAll(n.Unsigned) {
		move.Stage, move.Held = move.Stage+1, n.Waiting
		if _, err := dbsqlc.New().GuardTrip(ctx, tx, t.UID); err != nil {
			return fmt.Errorf("trip the guard of %s: %w", t.UID, err)
		}
		return raiseGuard(ctx, tx, s.w.sync.alerts, t, map[string]any{
			"type": t.UID, "vanished": n.Waiting, "live": guard.live, "limit": guard.limit(),
			"deleted_last_hour": guard.used, "examples": n.Examples, "run": s.run.ID,
		})
	}
	move.Cursor = ghostsJudged
	return s.letGo(ctx, tx, t, guard, n.Waiting)
}

// letGo ends what the guard holds: few documents are gone now, or it was allowed.
func (s *sweep) letGo(ctx context.Context, tx pgx.Tx, t strapi.ContentType, guard guardFacts, ghosts int64) error {
	if !guard.tripped && !s.run.AllowDeletes {
		return nil
	}
	if _, err := dbsqlc.New().GuardRelease(ctx, tx, t.UID); err != nil {
		return fmt.Errorf("release the guard of %s: %w", t.UID, err)
	}
	reason := fmt.Sprintf("a full reconciliation found %d documents that Strapi has not", ghosts)
	if s.run.AllowDeletes {
		reason = "the deletions were allowed by " + s.run.Actor
	}
	return resolveGuard(ctx, tx, s.w.sync.alerts, t, reason)
}

// allow lifts the guard for an hour, and wakes what it holds.
func (s *sweep) allow(ctx context.Context, tx pgx.Tx, t strapi.ContentType) error {
	// Before the guard's row: a sync takes its document's lock before the guard's, too.
	if err := dbsqlc.New().EntityUnhold(ctx, tx, dbsqlc.EntityUnholdParams{UID: t.UID, Reason: heldReason}); err != nil {
		return fmt.Errorf("wake held deletions of %s: %w", t.UID, err)
	}
	err := dbsqlc.New().GuardAllow(ctx, tx, dbsqlc.GuardAllowParams{
		UID: t.UID, AllowSeconds: guardAllow.Seconds(), AllowedBy: &s.run.Actor,
	})
	if err != nil {
		return fmt.Errorf("allow deletions of %s: %w", t.UID, err)
	}
	return nil
}
