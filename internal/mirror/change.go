package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// change is what a sync is about to do to its document's row.
type change struct {
	attempt
	current

	// before is the row as it is.
	before mirroredRow
	// deal or billing is the row as Strapi's answer makes it; which one is the type's
	// kind. Neither is set where Strapi no longer has the document.
	deal    dbsqlc.DealUpsertParams
	billing dbsqlc.BillingUpsertParams
	// unreadable are the values of Strapi's answer that are null in the row for that reason.
	unreadable []Unreadable
}

// mirroredRow is what a sync needs to know of a row of deal or billing.
type mirroredRow struct {
	json           []byte  // the whole row as to_jsonb gives it; nil when there is none
	PublishedAt    *string `json:"published_at"` // only whether there is one: Go reads no infinity
	DeletedAt      *string `json:"deleted_at"`
	DealUID        *string `json:"deal_uid"`
	DealDocumentID *string `json:"deal_document_id"`
}

// readChange reads the document's row and maps Strapi's answer to the new one. No
// lock is needed: every writer of the row moves the version of its entity_sync row,
// so a row that changes after this fails the compare-and-set.
func (w *SyncWorker) readChange(ctx context.Context, tx pgx.Tx, a attempt, cur current) (change, error) {
	c, r := change{attempt: a, current: cur}, reader{t: a.t, doc: cur.doc, refused: cur.refused}
	var err error
	if c.before, err = readRow(ctx, tx, a); err != nil {
		return c, fmt.Errorf("read the row: %w", err)
	}
	switch {
	case !cur.found:
	case a.t.Kind == strapi.Deal:
		c.deal = r.deal(a.key, cur.version)
	default:
		c.billing = r.billing(w.dealUIDs[0], a.key, cur.version)
		err = w.findDealUID(ctx, tx, &c.billing)
	}
	c.unreadable = r.unreadable
	return c, err
}

func readRow(ctx context.Context, tx pgx.Tx, a attempt) (row mirroredRow, err error) {
	if a.t.Kind == strapi.Deal {
		row.json, err = dbsqlc.New().DealBefore(ctx, tx, dbsqlc.DealBeforeParams(a.key))
	} else {
		row.json, err = dbsqlc.New().BillingBefore(ctx, tx, dbsqlc.BillingBeforeParams(a.key))
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return mirroredRow{}, nil
	}
	if err == nil {
		err = json.Unmarshal(row.json, &row)
	}
	return row, err
}

// findDealUID completes the type of a billing's deal: Strapi's answer names the deal
// but not its type, and the mirror knows it.
func (w *SyncWorker) findDealUID(ctx context.Context, tx pgx.Tx, row *dbsqlc.BillingUpsertParams) error {
	if row.DealDocumentID == nil || len(w.dealUIDs) == 1 {
		return nil
	}
	uid, err := dbsqlc.New().DealUID(ctx, tx, *row.DealDocumentID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the type of deal %s: %w", *row.DealDocumentID, err)
	}
	row.DealUID = &uid
	return nil
}

// kind returns what mirror_change calls the change.
func (c change) kind() string {
	published := c.deal.PublishedAt != nil || c.billing.PublishedAt != nil
	switch {
	case !c.found:
		return "deleted"
	case c.before.json == nil:
		return "created"
	case c.before.DeletedAt != nil:
		return "revived"
	case c.before.PublishedAt != nil && !published:
		return "unpublished"
	}
	return "updated"
}

// alive reports whether there is a row that is no tombstone.
func (r mirroredRow) alive() bool { return r.json != nil && r.DeletedAt == nil }
