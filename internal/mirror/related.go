package mirror

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// related returns the documents to refresh because of this one: Strapi links, moves
// and unlinks billings without a webhook.
func (w *SyncWorker) related(ctx context.Context, tx pgx.Tx, c change) (refreshes []Refresh, err error) {
	if c.t.Kind == strapi.Deal {
		refreshes, err = w.relinkedBillings(ctx, tx, c)
	} else {
		refreshes, err = newDeal(ctx, tx, c)
	}
	if c.moved != nil {
		refreshes = append(refreshes, Refresh{Key: *c.moved})
	}
	return refreshes, err
}

// relinkedBillings returns the billings whose link may have changed with this deal.
// Their rows are never written from here: an older answer about a billing, still
// under way, would restore the link.
func (w *SyncWorker) relinkedBillings(ctx context.Context, tx pgx.Tx, c change) ([]Refresh, error) {
	linked, err := dbsqlc.New().BillingOfDeal(ctx, tx, dbsqlc.BillingOfDealParams{
		DealUID: &c.key.UID, DealDocumentID: &c.key.DocumentID,
	})
	if err != nil {
		return nil, fmt.Errorf("read the deal's billings: %w", err)
	}
	var refreshes []Refresh
	if !c.found {
		for _, b := range linked {
			refreshes = append(refreshes, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
		return refreshes, nil
	}
	for _, t := range w.types {
		name := c.t.Field(t.Plural)
		if t.Kind != strapi.Billing || name == "" {
			continue
		}
		raw, _ := strapi.Attribute(c.doc, name)
		ids, ok := strapi.RelationIDs(raw)
		if !ok {
			continue // Strapi's answer does not show this relation
		}
		more, err := differing(ctx, tx, c, t.UID, ids, linked)
		if err != nil {
			return nil, err
		}
		refreshes = append(refreshes, more...)
	}
	return refreshes, nil
}

// differing compares the billings of one type that Strapi lists under a deal with
// those that the mirror has there.
func differing(ctx context.Context, tx pgx.Tx, deal change, billingUID string, ids []string, linked []dbsqlc.BillingOfDealRow) ([]Refresh, error) {
	var refreshes []Refresh
	listed, have := make(map[string]bool, len(ids)), map[string]bool{}
	for _, id := range ids {
		listed[id] = true
	}
	for _, b := range linked {
		// The deal of another locale lists the billing's row of that locale.
		if b.UID != billingUID || !sameLocale(b.Locale, deal.key.Locale) {
			continue
		}
		have[b.DocumentID] = true
		if mayBeUnlinked(b, deal.version, listed[b.DocumentID]) {
			refreshes = append(refreshes, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return have[id] })
	if len(missing) == 0 {
		return refreshes, nil
	}
	rows, err := dbsqlc.New().BillingLocales(ctx, tx, dbsqlc.BillingLocalesParams{UID: billingUID, DocumentIds: missing})
	if err != nil {
		return nil, fmt.Errorf("find billings: %w", err)
	}
	known := map[string]bool{}
	for _, b := range rows {
		if sameLocale(b.Locale, deal.key.Locale) {
			known[b.DocumentID] = true
			refreshes = append(refreshes, Refresh{Key: Key{b.UID, b.DocumentID, b.Locale}})
		}
	}
	for _, id := range missing {
		// A billing that the mirror has never seen. Where its type has no locales
		// the sync finds that out.
		if !known[id] {
			refreshes = append(refreshes, Refresh{Key: Key{billingUID, id, deal.key.Locale}})
		}
	}
	return refreshes, nil
}

// sameLocale reports whether a row can lead to another: within a locale, or where
// one of the two types has none.
func sameLocale(a, b string) bool { return a == "" || b == "" || a == b }

// mayBeUnlinked reports whether a billing that the mirror has under the deal may no
// longer be there. A published deal lists published billings only, and a deal that
// is not published has silently lost those.
func mayBeUnlinked(b dbsqlc.BillingOfDealRow, deal strapi.Version, listed bool) bool {
	if deal == strapi.Draft {
		return b.Published || !listed
	}
	return b.Published && !listed
}

// newDeal returns the deal that this billing is about to be linked to, in each
// locale. It may have lost the billing since Strapi answered, and its own sync may
// have compared its billings before this link was there. A sync that begins after
// this write sees both.
func newDeal(ctx context.Context, tx pgx.Tx, c change) ([]Refresh, error) {
	row := c.billing
	linked := c.before.alive() && same(c.before.DealUID, row.DealUID) && same(c.before.DealDocumentID, row.DealDocumentID)
	if row.DealDocumentID == nil || linked {
		return nil, nil
	}
	locales, err := dbsqlc.New().EntityOfDocument(ctx, tx, dbsqlc.EntityOfDocumentParams{UID: *row.DealUID, DocumentID: *row.DealDocumentID})
	if err != nil {
		return nil, fmt.Errorf("find the billing's deal: %w", err)
	}
	var refreshes []Refresh
	for _, locale := range locales {
		refreshes = append(refreshes, Refresh{Key: Key{*row.DealUID, *row.DealDocumentID, locale}})
	}
	return refreshes, nil
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

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
