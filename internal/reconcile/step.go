package reconcile

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/pgerr"
	"dealbox/internal/strapi"
)

// sweep is a run as this runner works it. Its cursor is in the row: each step
// moves it in the transaction of what it found, so that a crash repeats a step
// and loses none.
type sweep struct {
	w       *Worker
	run     dbsqlc.ReconciliationRun
	breaker circuit.Snapshot
	// drafts holds for each type that was listed whether it has drafts.
	drafts map[string]bool
}

// step does the next part: one range of a type's list, or some ghosts. It holds
// one page in memory, and no transaction while Strapi answers.
func (s *sweep) step(ctx context.Context) (over bool, err error) {
	types := s.w.cfg.Types
	stage := int(s.run.Stage)
	switch {
	case stage < len(types):
		return false, s.list(ctx, types[stage])
	case s.run.Kind == string(Full) && stage < 2*len(types):
		return false, s.ghosts(ctx, types[stage-len(types)])
	}
	return true, nil
}

// conflictTries bounds how often a transaction is repeated after a conflict.
const conflictTries = 5

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

// record requests a refresh of each difference, and keeps it for the audit. Before
// the first full run nothing is a difference: Dealbox is new.
func (s *sweep) record(ctx context.Context, tx pgx.Tx, found []difference, move *dbsqlc.ReconciliationAdvanceParams) error {
	refreshes := make([]mirror.Refresh, len(found))
	insert := dbsqlc.ReconciliationDifferenceInsertParams{RunID: s.run.ID}
	for i, d := range found {
		refreshes[i].Key = d.key
		insert.Uids = append(insert.Uids, d.key.UID)
		insert.DocumentIds = append(insert.DocumentIds, d.key.DocumentID)
		insert.Locales = append(insert.Locales, d.key.Locale)
		insert.Kinds = append(insert.Kinds, d.kind)
		if d.kind == "missing" {
			move.Missing++
		} else {
			move.Stale++
		}
	}
	move.Enqueued = int64(len(refreshes))
	if s.run.Baseline && len(found) > 0 {
		err := dbsqlc.New().ReconciliationDifferenceInsert(ctx, tx, insert)
		if err != nil {
			return fmt.Errorf("keep differences: %w", err)
		}
	}
	// After the differences, which record whether a refresh was pending before this one.
	_, err := s.w.refreshes.Enqueue(ctx, tx, refreshes)
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
		err = pgx.BeginFunc(ctx, s.w.pool, func(tx pgx.Tx) error {
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
