package mirror

import (
	"context"
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
	// guardWait is after how long a deletion that is held back is tried again.
	guardWait = 5 * time.Minute
	// heldBackReason is the last_error of a document whose deletion is held back. It is
	// for people; entity_sync.held_back_since is what Dealbox reads.
	heldBackReason = "the deletion guard holds the deletion back: if it is right, run 'dealbox sync --allow-deletes --type TYPE' with the type of the document"
)

// guardDeletion decides whether a live row may become a tombstone; the error is
// errHeldBack when it may not. counted reports whether the deletion counts toward
// the limit of the hour. One that an operator allowed does not.
func guardDeletion(ctx context.Context, tx pgx.Tx, c change) (counted bool, err error) {
	if c.moved != nil || c.deletionAllowed() {
		return false, nil // moved: nothing vanished, Strapi shows the document under another key
	}
	verified, err := dbsqlc.New().GuardVerified(ctx, tx, dbsqlc.GuardVerifiedParams{
		UID: &c.key.UID, DocumentID: &c.key.DocumentID, Locale: &c.key.Locale, WantSeq: &c.row.WantSeq,
	})
	if err != nil {
		return false, fmt.Errorf("find the event of a deletion: %w", err)
	}
	if verified && !c.empty {
		return false, nil // the common case counts nothing and locks nothing
	}
	g, err := ReadGuard(ctx, tx, c.key.UID)
	if err != nil {
		return false, err
	}
	if g.holdsBack(deletion{verified: verified, empty: c.empty}) {
		return false, errHeldBack
	}
	return !verified, nil
}

// deletionAllowed reports whether an operator allowed the deletion with a refresh that this
// attempt covers.
func (a attempt) deletionAllowed() bool {
	allowed := a.row.DeletionAllowedSeq
	return allowed != nil && a.row.DoneSeq < *allowed && *allowed <= a.row.WantSeq
}

// Guard is the state of the guard of one content type.
type Guard struct {
	Tripped bool  // it holds deletions back until ResetGuard
	Counted int64 // deletions of the last hour that count toward Limit
	Live    int64 // documents that the mirror has
}

// ReadGuard locks the guard of a content type until tx ends, and returns its state.
func ReadGuard(ctx context.Context, tx pgx.Tx, uid string) (Guard, error) {
	tripped, err := dbsqlc.New().GuardLock(ctx, tx, uid)
	if err != nil {
		return Guard{}, fmt.Errorf("lock the guard of %s: %w", uid, err)
	}
	n, err := dbsqlc.New().GuardCount(ctx, tx, uid)
	if err != nil {
		return Guard{}, fmt.Errorf("count the deletions of %s: %w", uid, err)
	}
	return Guard{Tripped: tripped, Counted: n.Counted, Live: n.Live}, nil
}

// deletion is what the guard knows about one.
type deletion struct {
	verified bool // a verified entry.delete names the document
	empty    bool // Strapi has no document of the type at all
}

// holdsBack reports whether one more deletion is held back. An empty collection
// outweighs a verified event: whoever emptied it by mistake sent those, too.
func (g Guard) holdsBack(d deletion) bool {
	switch {
	case d.empty && g.Live > g.Limit():
		return true
	case d.verified:
		return false
	}
	return g.Tripped || g.Counted >= g.Limit()
}

// Limit returns how many counted deletions an hour are plausible.
func (g Guard) Limit() int64 { return max(guardFloor, (g.Live+g.Counted)/guardShare) }

var errHeldBack = errors.New("the deletion is held back by the guard")

// holdBack ends an attempt whose deletion is held back: nothing was changed, the
// attempt does not count, and the refresh stays requested.
func (w *SyncWorker) holdBack(ctx context.Context, a attempt) (bool, error) {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		err := dbsqlc.New().EntityHoldBack(ctx, tx, dbsqlc.EntityHoldBackParams{
			UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Version: a.row.Version,
			LastError: heldBackReason, WaitSeconds: guardWait.Seconds(),
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

// TripGuard makes the guard of a type hold back its deletions until ResetGuard, and
// raises the alert with the details.
func TripGuard(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts, t strapi.ContentType, details map[string]any) error {
	if _, err := dbsqlc.New().GuardTrip(ctx, tx, t.UID); err != nil {
		return fmt.Errorf("trip the guard of %s: %w", t.UID, err)
	}
	return raiseGuard(ctx, tx, alerts, t, details)
}

func raiseGuard(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts, t strapi.ContentType, details map[string]any) error {
	_, err := alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleMassDeleteGuard, Subject: t.Plural, Level: level.Critical,
		Message: alerting.MassDeleteGuard(t.Plural),
		Details: details,
	})
	return err
}

// ResetGuard ends what TripGuard began, and resolves the alert.
func ResetGuard(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts, t strapi.ContentType, reason string) error {
	if _, err := dbsqlc.New().GuardReset(ctx, tx, t.UID); err != nil {
		return fmt.Errorf("reset the guard of %s: %w", t.UID, err)
	}
	_, err := alerts.Resolve(ctx, tx, alerting.RuleMassDeleteGuard, t.Plural, alerting.EndMassDeleteGuard(t.Plural, reason))
	return err
}

// AllowHeldBack allows the deletions of a type that the guard holds back now, and makes them due.
func AllowHeldBack(ctx context.Context, tx pgx.Tx, uid string) error {
	if err := dbsqlc.New().EntityAllowHeldBack(ctx, tx, uid); err != nil {
		return fmt.Errorf("allow the deletions of %s that are held back: %w", uid, err)
	}
	return nil
}

// AllowDeletions allows the deletion of documents of a type with the refresh that tx has
// requested of each: the next one that vanishes is for the guard to decide again.
func AllowDeletions(ctx context.Context, tx pgx.Tx, uid string, documents []Key) error {
	p := dbsqlc.EntityAllowDeletionParams{UID: uid}
	for _, key := range documents {
		p.DocumentIds, p.Locales = append(p.DocumentIds, key.DocumentID), append(p.Locales, key.Locale)
	}
	if err := dbsqlc.New().EntityAllowDeletion(ctx, tx, p); err != nil {
		return fmt.Errorf("allow %d deletions of %s: %w", len(documents), uid, err)
	}
	return nil
}
