package reconcile

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// ghostChunk is for how many ghosts one transaction requests a refresh.
const ghostChunk = 200

// ghostsPassed is the cursor of a ghost stage once the guard has let them pass.
const ghostsPassed = "passed"

// ghosts requests a refresh of what the mirror has and Strapi has not, when the whole
// list was read and the guard agrees. Each is then synchronised like any other document.
func (s *sweep) ghosts(ctx context.Context, t strapi.ContentType) error {
	move := dbsqlc.ReconciliationAdvanceParams{Stage: s.run.Stage}
	if s.run.Cursor != ghostsPassed {
		return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
			return s.guard(ctx, tx, t, move)
		})
	}
	return s.transact(ctx, &move, func(tx pgx.Tx, move *dbsqlc.ReconciliationAdvanceParams) error {
		taken, err := dbsqlc.New().ReconciliationGhostTake(ctx, tx, dbsqlc.ReconciliationGhostTakeParams{
			RunID: s.run.ID, UID: t.UID, MaxRows: ghostChunk,
		})
		if err != nil {
			return fmt.Errorf("take ghosts: %w", err)
		}
		refreshes := make([]mirror.Refresh, len(taken))
		for i, g := range taken {
			refreshes[i].Key = mirror.Key{UID: t.UID, DocumentID: g.DocumentID, Locale: g.Locale}
		}
		move.Enqueued, move.Cursor = int64(len(refreshes)), ghostsPassed
		if len(refreshes) < ghostChunk {
			move.Stage, move.Cursor = move.Stage+1, ""
		}
		_, err = s.w.refreshes.Enqueue(ctx, tx, refreshes)
		return err
	})
}

// guard asks the guard about all ghosts of a type together: when they are too many,
// none of them is refreshed.
func (s *sweep) guard(ctx context.Context, tx pgx.Tx, t strapi.ContentType, move *dbsqlc.ReconciliationAdvanceParams) error {
	if s.run.AllowDeletes {
		if err := mirror.AllowDeletions(ctx, tx, t.UID, s.run.Actor); err != nil {
			return err
		}
	}
	n, err := dbsqlc.New().ReconciliationGhostCount(ctx, tx, dbsqlc.ReconciliationGhostCountParams{RunID: s.run.ID, UID: t.UID})
	if err != nil {
		return fmt.Errorf("count ghosts: %w", err)
	}
	g, err := mirror.ReadGuard(ctx, tx, t.UID)
	if err != nil {
		return err
	}
	if holdsBackAll(g, n.Unverified, n.Waiting >= g.Live) {
		move.Stage, move.Held = move.Stage+1, n.Waiting
		return mirror.TripGuard(ctx, tx, s.w.alerts, t, map[string]any{
			"type": t.UID, "vanished": n.Waiting, "live": g.Live, "limit": g.Limit(),
			"deleted_last_hour": g.Counted, "examples": n.Examples, "run": s.run.ID,
		})
	}
	move.Cursor = ghostsPassed
	if !g.Tripped && !s.run.AllowDeletes {
		return nil
	}
	reason := fmt.Sprintf("a full reconciliation found %d documents that Strapi no longer has, which is plausible", n.Waiting)
	if s.run.AllowDeletes {
		reason = "the deletions were allowed by " + s.run.Actor
	}
	return mirror.ResetGuard(ctx, tx, s.w.alerts, t, reason)
}

// holdsBackAll reports whether a run that found so many ghosts which no verified
// entry.delete names may refresh none. empty is whether the list showed no document
// at all: that outweighs verified events here, too.
func holdsBackAll(g mirror.Guard, unverified int64, empty bool) bool {
	return !g.Allowed && (g.Counted+unverified > g.Limit() || empty && g.Live > g.Limit())
}
