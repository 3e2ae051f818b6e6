package reconcile

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

const (
	// compareChunk is how many staged rows one transaction compares.
	compareChunk = 5000
	// refreshChunk is how many refreshes one transaction requests.
	refreshChunk = 200
	// attemptTime is longer than a sync's attempt takes: what a sync wrote later than that
	// after a row was listed, it read from Strapi after the row was listed.
	attemptTime = jobs.Timeout + 5*time.Second
	// deadSlack is how long before its death a correction of a dead letter may have been
	// made, by Strapi's clock, and still leads to a refresh: it can fall into the last
	// attempt, and Strapi's clock can be behind. It costs a few refreshes in vain at most:
	// a document that dies again dies later, and that is soon after the slack.
	deadSlack = 5 * time.Minute
	// endOfIDs sorts behind every documentId: it is the last character there is.
	endOfIDs = "\U0010FFFF"
)

// essential are the columns without which a document counts for nothing.
var essential = map[strapi.Kind][]string{
	strapi.Deal:    {"deal_value", "status", "stage"},
	strapi.Billing: {"amount", "status"},
}

// compare finds the differences between a part of what was listed and the mirror. It
// cuts the parts by the order that Postgres has in these tables, whatever Strapi's is.
func (s *sweep) compare(ctx context.Context, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	after := s.run.Cursor
	upto, err := dbsqlc.New().ReconciliationChunkEnd(ctx, s.w.pool, dbsqlc.ReconciliationChunkEndParams{
		RunID: s.run.ID, UID: t.UID, After: after, Size: compareChunk,
	})
	if err != nil {
		return fmt.Errorf("find the next part to compare of %s: %w", t.Plural, err)
	}
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage, Cursor: upto}
	if upto == "" {
		move.Stage, upto = s.stageOf(partGuard), endOfIDs
	}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		q := dbsqlc.New()
		found, err := q.ReconciliationCompare(ctx, tx, dbsqlc.ReconciliationCompareParams{
			RunID: s.run.ID, UID: t.UID, After: after, Upto: upto, Began: began(row), IsDelta: row.Kind == string(Delta),
			AttemptSeconds: attemptTime.Seconds(), DeadSlackSeconds: deadSlack.Seconds(),
			Essential: essential[t.Kind], Baseline: row.Baseline,
		})
		if err != nil {
			return fmt.Errorf("compare %s: %w", t.Plural, err)
		}
		strays, err := q.ReconciliationStrays(ctx, tx, dbsqlc.ReconciliationStraysParams{RunID: s.run.ID, UID: t.UID, After: after, Upto: upto})
		if err != nil {
			return fmt.Errorf("find %s under another key: %w", t.Plural, err)
		}
		move.Missing, move.Stale = found.Missing, found.Stale+strays
		if row.Kind == string(Delta) {
			return nil
		}
		move.Ghosts, err = q.ReconciliationGhostInsert(ctx, tx, dbsqlc.ReconciliationGhostInsertParams{RunID: s.run.ID, UID: t.UID, After: after, Upto: upto})
		if err != nil {
			return fmt.Errorf("find %s that Strapi no longer has: %w", t.Plural, err)
		}
		return nil
	})
}

// refresh requests the refresh of the next differences that no guard holds back.
func (s *sweep) refresh(ctx context.Context, t strapi.ContentType) error {
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		taken, err := dbsqlc.New().ReconciliationTake(ctx, tx, dbsqlc.ReconciliationTakeParams{
			RunID: s.run.ID, UID: t.UID, After: s.rowCursor(), MaxRows: refreshChunk,
		})
		if err != nil {
			return fmt.Errorf("take differences of %s: %w", t.Plural, err)
		}
		refreshes, last := make([]mirror.Refresh, len(taken)), int64(0)
		var ghosts []mirror.Key
		for i, d := range taken {
			refreshes[i].Key = mirror.Key{UID: t.UID, DocumentID: d.DocumentID, Locale: d.Locale}
			last = max(last, d.ID)
			if d.Kind == "ghost" {
				ghosts = append(ghosts, refreshes[i].Key)
			}
		}
		move.Cursor = strconv.FormatInt(last, 10)
		move.Enqueued = int64(len(refreshes))
		if len(refreshes) < refreshChunk {
			move.Stage, move.Cursor = s.stageOf(partDead), ""
		}
		if _, err := s.w.refreshes.Enqueue(ctx, tx, refreshes); err != nil || !s.allowsDeletes(t) || len(ghosts) == 0 {
			return err
		}
		return mirror.AllowDeletions(ctx, tx, t.UID, ghosts)
	})
}

// dead ends the comparison of a type. A full run that an operator requested tries its dead
// letters again first. Every other full run only counts them: each would revive them, and
// they would fail again.
func (s *sweep) dead(ctx context.Context, t strapi.ContentType, row *dbsqlc.ReconciliationType) error {
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.stageOf(parts)}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) (err error) {
		switch {
		case s.run.Kind != string(Full):
		case s.run.Trigger != string(TriggerDemand):
			if move.Dead, err = dbsqlc.New().EntityDeadCount(ctx, tx, t.UID); err != nil {
				return fmt.Errorf("count dead letters of %s: %w", t.Plural, err)
			}
		default:
			if move.DeadRetried, err = s.retryDead(ctx, tx, t); err != nil {
				return err
			}
			if move.DeadRetried == refreshChunk {
				move.Stage = s.run.Stage // there may be more
				return nil
			}
		}
		return s.typeDone(ctx, tx, t, row)
	})
}

func (s *sweep) retryDead(ctx context.Context, tx pgx.Tx, t strapi.ContentType) (int64, error) {
	dead, err := dbsqlc.New().EntityDeadTake(ctx, tx, dbsqlc.EntityDeadTakeParams{UID: t.UID, Before: *s.run.StartedAt, MaxRows: refreshChunk})
	if err != nil {
		return 0, fmt.Errorf("read dead letters of %s: %w", t.Plural, err)
	}
	refreshes := make([]mirror.Refresh, len(dead))
	for i, d := range dead {
		refreshes[i].Key = mirror.Key{UID: t.UID, DocumentID: d.DocumentID, Locale: d.Locale}
	}
	_, err = s.w.refreshes.Enqueue(ctx, tx, refreshes)
	return int64(len(refreshes)), err
}
