package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// apply writes the document's own row, and only that, and logs the change. It
// reports whether anything differed.
func apply(ctx context.Context, tx pgx.Tx, c change) (changed bool, err error) {
	if !c.found && !c.before.alive() {
		return false, nil
	}
	counted := false
	if !c.found {
		if counted, err = guardDeletion(ctx, tx, c); err != nil {
			return false, err
		}
	}
	after, err := writeRow(ctx, tx, c)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the row: %w", err)
	}
	err = dbsqlc.New().MirrorChangeInsert(ctx, tx, dbsqlc.MirrorChangeInsertParams{
		UID: c.key.UID, DocumentID: c.key.DocumentID, Locale: c.key.Locale, Seq: c.row.WantSeq,
		Kind: c.kind(), Counted: counted, Before: c.before.json, After: after,
	})
	if err != nil {
		return false, fmt.Errorf("log the change: %w", err)
	}
	return true, nil
}

// writeRow returns the row as to_jsonb gives it afterwards, or pgx.ErrNoRows when
// nothing differed.
func writeRow(ctx context.Context, tx pgx.Tx, c change) ([]byte, error) {
	isDeal := c.t.Kind == strapi.Deal
	switch {
	case c.found && isDeal:
		return dbsqlc.New().DealUpsert(ctx, tx, c.deal)
	case c.found:
		return dbsqlc.New().BillingUpsert(ctx, tx, c.billing)
	case isDeal:
		return dbsqlc.New().DealTombstone(ctx, tx, dbsqlc.DealTombstoneParams(c.key))
	}
	return dbsqlc.New().BillingTombstone(ctx, tx, dbsqlc.BillingTombstoneParams(c.key))
}
