package revenue

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
)

// These two are written here and not in db/queries, because the methods that
// sqlc generates return all rows at once: with a million deals that is 600 MB.
// Unpublished rows and tombstones never count; leaving them out only saves
// reading them. Empty text stands for null, which means the same here. The order
// is the one that tally needs; the primary key's index has it (100,000 deals in
// 75 ms, sorting them took 140 ms).
const (
	selectDeals = `-- name: ForecastDeals :many
SELECT uid, document_id, locale, coalesce(status, ''), coalesce(stage, ''), coalesce(currency, ''),
       deal_value, probability, confidence_override,
       recognition_start_month, recognition_end_month, expected_close_date
FROM deal
WHERE published_at IS NOT NULL AND deleted_at IS NULL
ORDER BY uid, document_id, locale`

	selectBillings = `-- name: ForecastBillings :many
SELECT uid, document_id, locale, coalesce(currency, ''), amount, recognition_month, invoice_date, collected_date
FROM billing
WHERE published_at IS NOT NULL AND deleted_at IS NULL
ORDER BY uid, document_id, locale`
)

// computeMirror computes the forecast of the mirror as it is now. Deals and
// billings are read from one snapshot of the database, which takes no lock that
// a writer would wait for.
func (f *Forecast) computeMirror(ctx context.Context, pool store) (Snapshot, error) {
	t := newTally(f.config.Currency, f.config.Locale)
	consistent := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, consistent, func(tx pgx.Tx) error {
		if err := eachDeal(ctx, tx, t.deal); err != nil {
			return err
		}
		return eachBilling(ctx, tx, t.billing)
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("read the mirror: %w", err)
	}
	return t.snapshot(), nil
}

// eachDeal streams the deals that can count, in key order.
func eachDeal(ctx context.Context, db dbsqlc.DBTX, yield func(Deal)) error {
	d := Deal{Document: Document{Published: true}}
	columns := []any{
		&d.UID, &d.DocumentID, &d.Locale, &d.Status, &d.Stage, &d.Currency,
		(*number)(&d.Value), (*number)(&d.Probability), (*number)(&d.Override),
		(*monthOfDate)(&d.Start), (*monthOfDate)(&d.End), (*monthOfDate)(&d.Close),
	}
	if err := eachRow(ctx, db, selectDeals, columns, func() { yield(d) }); err != nil {
		return fmt.Errorf("read deals, after %s/%s: %w", d.UID, d.DocumentID, err)
	}
	return nil
}

// eachBilling streams the billings that can count, in key order.
func eachBilling(ctx context.Context, db dbsqlc.DBTX, yield func(Billing)) error {
	b := Billing{Document: Document{Published: true}}
	columns := []any{
		&b.UID, &b.DocumentID, &b.Locale, &b.Currency,
		(*number)(&b.Amount), (*monthOfDate)(&b.Recognition), (*monthOfDate)(&b.Invoice), (*monthOfDate)(&b.Collected),
	}
	if err := eachRow(ctx, db, selectBillings, columns, func() { yield(b) }); err != nil {
		return fmt.Errorf("read billings, after %s/%s: %w", b.UID, b.DocumentID, err)
	}
	return nil
}

// eachRow scans each row into the same columns.
func eachRow(ctx context.Context, db dbsqlc.DBTX, sql string, columns []any, row func()) error {
	rows, err := db.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return err
		}
		row()
	}
	return rows.Err()
}

// beyond is an impossible amount.
var beyond = decimal.New(1, maxDigits)

// number reads a numeric of any size, without text in between.
type number decimal.NullDecimal

// ScanNumeric implements pgtype.NumericScanner. An infinity, which Strapi cannot
// send but SQL can write, becomes a number beyond every bound.
func (n *number) ScanNumeric(v pgtype.Numeric) error {
	*n = number{Valid: v.Valid}
	switch {
	case !v.Valid:
	case v.NaN:
		return errors.New("not a number: the tables refuse NaN")
	case v.InfinityModifier == pgtype.Infinity:
		n.Decimal = beyond
	case v.InfinityModifier == pgtype.NegativeInfinity:
		n.Decimal = beyond.Neg()
	default:
		n.Decimal = decimal.NewFromBigInt(v.Int, v.Exp)
	}
	return nil
}

// monthOfDate reads the month of a date; null is no month.
type monthOfDate Month

// ScanDate implements pgtype.DateScanner. An infinite date, which Strapi cannot
// send but SQL can write, names no month.
func (m *monthOfDate) ScanDate(v pgtype.Date) error {
	*m = 0
	if v.Valid && v.InfinityModifier == pgtype.Finite {
		*m = monthOfDate(MonthOf(v.Time))
	}
	return nil
}
