package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/strapi"
)

// The guard against mass deletion. A Strapi restored from an old backup, or one
// that leads to an empty database, answers 404 for everything, well formed. So
// no more than a plausible number of deletions is believed in an hour.

const (
	// guardFloor: so many deletions of a type in an hour are always plausible.
	guardFloor = 10
	// guardShare: one in so many live documents is plausible, too (5 %).
	guardShare = 20
	// guardWait is how long a deletion that is held back waits until it is looked at again.
	guardWait = 5 * time.Minute
	// guardAllow is how long an operator's permission lasts.
	guardAllow = time.Hour
	// heldReason is the last_error of a document whose deletion is held back.
	heldReason = "held back by the mass-delete guard: if the deletion is right, run 'dealbox sync --allow-deletes'"
)

// guardFacts are what the guard decides by, all of one type.
type guardFacts struct {
	allowed bool  // an operator said that the deletions are right
	tripped bool  // it holds already
	signed  bool  // a verified entry.delete names the document
	empty   bool  // Strapi has no document of the type at all
	used    int64 // deletions of the last hour without a verified entry.delete
	live    int64 // documents in the mirror
}

// limit is how many deletions an hour are plausible.
func (f guardFacts) limit() int64 { return max(guardFloor, (f.live+f.used)/guardShare) }

// holds says whether one more deletion is held back. An empty collection
// outweighs a signature: whoever emptied it by mistake signed it, too.
func (f guardFacts) holds() bool {
	switch {
	case f.allowed:
		return false
	case f.empty && f.live > f.limit():
		return true
	case f.signed:
		return false
	}
	return f.tripped || f.used >= f.limit()
}

// holdsAll says whether a sweep that found so many unsigned ghosts may not hand on any.
// An empty collection outweighs signatures here, too.
func (f guardFacts) holdsAll(unsigned int64) bool {
	return !f.allowed && (f.used+unsigned > f.limit() || f.empty && f.live > f.limit())
}

// readGuard locks the guard of the type until tx ends, and counts.
func readGuard(ctx context.Context, tx pgx.Tx, uid string) (guardFacts, error) {
	state, err := dbsqlc.New().GuardLock(ctx, tx, uid)
	if err != nil {
		return guardFacts{}, fmt.Errorf("lock the guard of %s: %w", uid, err)
	}
	n, err := dbsqlc.New().GuardCount(ctx, tx, uid)
	if err != nil {
		return guardFacts{}, fmt.Errorf("count the deletions of %s: %w", uid, err)
	}
	return guardFacts{allowed: state.Allowed, tripped: state.Tripped, used: n.Used, live: n.Live}, nil
}

// guardDeletion is asked before a live row becomes a tombstone. It answers
// whether a verified entry.delete named the document (or nothing was deleted, so
// that it is not counted), or errHeldBack.
func guardDeletion(ctx context.Context, tx pgx.Tx, a attempt, cur current) (signed bool, err error) {
	if cur.moved != nil {
		return true, nil // nothing vanished: Strapi shows the document under another key
	}
	signed, err = dbsqlc.New().GuardSigned(ctx, tx, dbsqlc.GuardSignedParams{
		UID: &a.key.UID, DocumentID: &a.key.DocumentID, Locale: &a.key.Locale, WantSeq: &a.row.WantSeq,
	})
	if err != nil {
		return false, fmt.Errorf("look for the event of a deletion: %w", err)
	}
	if signed && !cur.empty {
		return true, nil // the common case counts nothing and locks nothing
	}
	f, err := readGuard(ctx, tx, a.key.UID)
	if err != nil {
		return false, err
	}
	f.signed, f.empty = signed, cur.empty
	if f.holds() {
		return false, errHeldBack
	}
	return signed, nil
}

var errHeldBack = errors.New("the deletion is held back by the guard")

func isHeldBack(err error) bool { return errors.Is(err, errHeldBack) }

// holdBack ends an attempt whose deletion is held back: nothing was changed, no
// attempt is burnt, and the look stays asked for.
func (w *SyncWorker) holdBack(ctx context.Context, a attempt) (bool, error) {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		err := dbsqlc.New().EntityHold(ctx, tx, dbsqlc.EntityHoldParams{
			UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Version: a.row.Version,
			Reason: heldReason, WaitSeconds: guardWait.Seconds(),
		})
		if err != nil {
			return fmt.Errorf("hold back the deletion of %s: %w", a.key, err)
		}
		first, err := dbsqlc.New().GuardTrip(ctx, tx, a.key.UID)
		if err != nil || first == 0 {
			return err
		}
		return raiseGuard(ctx, tx, w.alerts, a.t, map[string]any{"type": a.t.UID, "first": a.key.String()})
	})
	return false, err // step 1 knows how long to wait
}

func raiseGuard(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts, t strapi.ContentType, details map[string]any) error {
	_, err := alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleMassDeleteGuard, Subject: t.Plural, Level: level.Critical,
		Message: fmt.Sprintf("too many %s vanished from Strapi at once, so Dealbox keeps them: bring Strapi's data back, "+
			"or run 'dealbox sync --allow-deletes' if the deletions are right", t.Plural),
		Details: details,
	})
	return err
}

func resolveGuard(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts, t strapi.ContentType, reason string) error {
	_, err := alerts.Resolve(ctx, tx, alerting.RuleMassDeleteGuard, t.Plural, reason)
	return err
}

// isAlive reads a mirrored row as to_jsonb gives it; nil is none.
func isAlive(row []byte) bool {
	var marks struct {
		DeletedAt *time.Time `json:"deleted_at"`
	}
	return row != nil && json.Unmarshal(row, &marks) == nil && marks.DeletedAt == nil
}
