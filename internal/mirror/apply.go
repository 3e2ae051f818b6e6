package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// apply writes the document's own row, and only that, and logs the change. It
// answers whether anything differed.
func (w *SyncWorker) apply(ctx context.Context, tx pgx.Tx, a attempt, cur current) (changed bool, err error) {
	before, err := before(ctx, tx, a)
	if err != nil {
		return false, err
	}
	var after []byte
	counted := false
	switch {
	case !cur.found && !isAlive(before):
		return false, nil
	case !cur.found:
		if counted, err = guardDeletion(ctx, tx, a, cur); err != nil {
			return false, err
		}
		after, err = tombstone(ctx, tx, a)
	case a.t.Kind == strapi.Deal:
		after, err = upsertDeal(ctx, tx, a, cur)
	default:
		after, err = w.upsertBilling(ctx, tx, a, cur)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the row: %w", err)
	}
	err = dbsqlc.New().MirrorChangeInsert(ctx, tx, dbsqlc.MirrorChangeInsertParams{
		UID: a.key.UID, DocumentID: a.key.DocumentID, Locale: a.key.Locale, Seq: a.row.WantSeq,
		Kind: changeKind(before, after), Counted: counted, Before: before, After: after,
	})
	if err != nil {
		return false, fmt.Errorf("log the change: %w", err)
	}
	return true, nil
}

// before is the row as it is, nil when there is none. No lock is needed: every
// writer of this row holds the lock of its entity_sync row.
func before(ctx context.Context, tx pgx.Tx, a attempt) (row []byte, err error) {
	if a.t.Kind == strapi.Deal {
		row, err = dbsqlc.New().DealBefore(ctx, tx, dbsqlc.DealBeforeParams(a.key))
	} else {
		row, err = dbsqlc.New().BillingBefore(ctx, tx, dbsqlc.BillingBeforeParams(a.key))
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the row: %w", err)
	}
	return row, nil
}

func tombstone(ctx context.Context, tx pgx.Tx, a attempt) ([]byte, error) {
	if a.t.Kind == strapi.Deal {
		return dbsqlc.New().DealTombstone(ctx, tx, dbsqlc.DealTombstoneParams(a.key))
	}
	return dbsqlc.New().BillingTombstone(ctx, tx, dbsqlc.BillingTombstoneParams(a.key))
}

func upsertDeal(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]byte, error) {
	row, err := DealRow(a.t, a.key, cur.version, cur.doc)
	if err != nil {
		return nil, err
	}
	return dbsqlc.New().DealUpsert(ctx, tx, row)
}

func (w *SyncWorker) upsertBilling(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]byte, error) {
	row, err := w.billingRow(ctx, tx, a, cur)
	if err != nil {
		return nil, err
	}
	return dbsqlc.New().BillingUpsert(ctx, tx, row)
}

func (w *SyncWorker) billingRow(ctx context.Context, tx pgx.Tx, a attempt, cur current) (dbsqlc.BillingUpsertParams, error) {
	row, err := BillingRow(a.t, w.dealUIDs[0], a.key, cur.version, cur.doc)
	if err != nil || row.DealDocumentID == nil || len(w.dealUIDs) == 1 {
		return row, err
	}
	// Strapi's answer names the deal but not its type; the mirror knows it.
	uid, err := dbsqlc.New().DealUID(ctx, tx, *row.DealDocumentID)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, nil
	}
	if err != nil {
		return row, fmt.Errorf("look for the type of deal %s: %w", *row.DealDocumentID, err)
	}
	row.DealUID = &uid
	return row, nil
}

// related are the documents to look at again because of this one: Strapi links,
// moves and unlinks billings without a word.
func (w *SyncWorker) related(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]Refresh, error) {
	looks, err := w.linked(ctx, tx, a, cur)
	if cur.moved != nil {
		looks = append(looks, Refresh{Key: *cur.moved})
	}
	return looks, err
}

func (w *SyncWorker) linked(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]Refresh, error) {
	if a.t.Kind == strapi.Deal {
		return w.movedBillings(ctx, tx, a, cur)
	}
	return w.newDeal(ctx, tx, a, cur)
}

// newDeal is the deal that this billing is about to be linked to. It may have lost
// the billing since Strapi was asked, and its own sync may have looked for its
// billings before this link was there. A look that begins after this write sees both.
func (w *SyncWorker) newDeal(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]Refresh, error) {
	if !cur.found {
		return nil, nil
	}
	row, err := w.billingRow(ctx, tx, a, cur)
	if err != nil || row.DealDocumentID == nil {
		return nil, err
	}
	shown, err := before(ctx, tx, a)
	if err != nil || linkedTo(shown, row) {
		return nil, err
	}
	known, err := dbsqlc.New().EntityOfDocument(ctx, tx, dbsqlc.EntityOfDocumentParams{UID: *row.DealUID, DocumentID: *row.DealDocumentID})
	if err != nil {
		return nil, fmt.Errorf("look for the billing's deal: %w", err)
	}
	var looks []Refresh
	for _, locale := range known {
		looks = append(looks, Refresh{Key: Key{*row.DealUID, *row.DealDocumentID, locale}})
	}
	return looks, nil
}

// linkedTo reads a mirrored billing as to_jsonb gives it; nil is none.
func linkedTo(shown []byte, row dbsqlc.BillingUpsertParams) bool {
	var link struct {
		DealUID        *string `json:"deal_uid"`
		DealDocumentID *string `json:"deal_document_id"`
	}
	return isAlive(shown) && json.Unmarshal(shown, &link) == nil &&
		same(link.DealUID, row.DealUID) && same(link.DealDocumentID, row.DealDocumentID)
}

// movedBillings are the billings whose link may have changed with this deal. Their
// rows are never written from here: an older answer about a billing, still under
// way, would restore the link.
func (w *SyncWorker) movedBillings(ctx context.Context, tx pgx.Tx, a attempt, cur current) ([]Refresh, error) {
	linked, err := dbsqlc.New().BillingOfDeal(ctx, tx, dbsqlc.BillingOfDealParams{
		DealUID: &a.key.UID, DealDocumentID: &a.key.DocumentID,
	})
	if err != nil {
		return nil, fmt.Errorf("read the deal's billings: %w", err)
	}
	var looks []Refresh
	if !cur.found {
		for _, b := range linked {
			looks = append(looks, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
		return looks, nil
	}
	for _, t := range w.types {
		name := a.t.Field(t.Plural)
		if t.Kind != strapi.Billing || name == "" {
			continue
		}
		ids, ok := strapi.RelationIDs(cur.doc.Attributes[name])
		if !ok {
			continue // not an answer about this relation
		}
		more, err := differing(ctx, tx, a.key, t.UID, ids, linked, cur.version)
		if err != nil {
			return nil, err
		}
		looks = append(looks, more...)
	}
	return looks, nil
}

// differing compares the billings of one type that Strapi lists under a deal with
// those that the mirror has there.
func differing(ctx context.Context, tx pgx.Tx, deal Key, billingUID string, ids []string,
	linked []dbsqlc.BillingOfDealRow, version strapi.Version,
) ([]Refresh, error) {
	var looks []Refresh
	have := map[string]bool{}
	for _, b := range linked {
		// The deal of another locale lists the billing's row of that locale.
		if b.UID != billingUID || !sameLocale(b.Locale, deal.Locale) {
			continue
		}
		have[b.DocumentID] = true
		if unlinked(b, version, slices.Contains(ids, b.DocumentID)) {
			looks = append(looks, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return have[id] })
	if len(missing) == 0 {
		return looks, nil
	}
	rows, err := dbsqlc.New().BillingLocales(ctx, tx, dbsqlc.BillingLocalesParams{UID: billingUID, DocumentIds: missing})
	if err != nil {
		return nil, fmt.Errorf("find billings: %w", err)
	}
	known := map[string]bool{}
	for _, b := range rows {
		if sameLocale(b.Locale, deal.Locale) {
			known[b.DocumentID] = true
			looks = append(looks, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
	}
	for _, id := range missing {
		// A billing that the mirror has never seen. Where its type has no locales
		// the look finds that out.
		if !known[id] {
			looks = append(looks, Refresh{Key: Key{billingUID, id, deal.Locale}})
		}
	}
	return looks, nil
}

// sameLocale says whether a row can lead to another: within a locale, or where one
// of the two types has none.
func sameLocale(a, b string) bool { return a == "" || b == "" || a == b }

// unlinked says whether a billing that the mirror has under the deal may no longer
// be there. A published deal lists published billings only, and a deal that is not
// published has silently lost those.
func unlinked(b dbsqlc.BillingOfDealRow, deal strapi.Version, listed bool) bool {
	if deal == strapi.Draft {
		return b.Published || !listed
	}
	return b.Published && !listed
}

// lock takes the locks of all the documents that the transaction is about to
// touch, in key order. With one document the compare-and-set takes it.
func lock(ctx context.Context, tx pgx.Tx, own Key, others []Refresh) error {
	if len(others) == 0 {
		return nil
	}
	uids, ids, locales, _ := columns(append(slices.Clone(others), Refresh{Key: own}))
	err := dbsqlc.New().EntityLock(ctx, tx, dbsqlc.EntityLockParams{Uids: uids, DocumentIds: ids, Locales: locales})
	if err != nil {
		return fmt.Errorf("lock %d documents: %w", len(uids), err)
	}
	return nil
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
