package revenue

import (
	"context"
	"errors"
	"fmt"
	"iter"

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

// computeMirror returns the forecast of the mirror as it is now. It reads deals and
// billings from one snapshot of the database, which takes no lock that a writer
// would wait for.
func (f *Forecast) computeMirror(ctx context.Context, pool store) (result Snapshot, err error) {
	consistent := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, consistent, func(tx pgx.Tx) error {
		result, err = Compute(Input{
			Currency: f.config.Currency, Locale: f.config.Locale, Deals: deals(ctx, tx), Billings: billings(ctx, tx),
		})
		return err
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("read the mirror: %w", err)
	}
	return result, nil
}

// deals streams the deals that can count, in key order.
func deals(ctx context.Context, db dbsqlc.DBTX) iter.Seq2[Deal, error] {
	return func(yield func(Deal, error) bool) {
		d := Deal{Document: Document{Published: true}}
		columns := []any{
			&d.UID, &d.DocumentID, &d.Locale, &d.Status, &d.Stage, &d.Currency,
			(*number)(&d.Value), (*number)(&d.Probability), (*number)(&d.Override),
			(*monthOfDate)(&d.Start), (*monthOfDate)(&d.End), (*monthOfDate)(&d.Close),
		}
		if err := eachRow(ctx, db, selectDeals, columns, func() bool { return yield(d, nil) }); err != nil {
			yield(d, fmt.Errorf("read deals, after %s/%s: %w", d.UID, d.DocumentID, err))
		}
	}
}

// billings streams the billings that can count, in key order.
func billings(ctx context.Context, db dbsqlc.DBTX) iter.Seq2[Billing, error] {
	return func(yield func(Billing, error) bool) {
		b := Billing{Document: Document{Published: true}}
		columns := []any{
			&b.UID, &b.DocumentID, &b.Locale, &b.Currency,
			(*number)(&b.Amount), (*monthOfDate)(&b.Recognition), (*monthOfDate)(&b.Invoice), (*monthOfDate)(&b.Collected),
		}
		if err := eachRow(ctx, db, selectBillings, columns, func() bool { return yield(b, nil) }); err != nil {
			yield(b, fmt.Errorf("read billings, after %s/%s: %w", b.UID, b.DocumentID, err))
		}
	}
}

// eachRow scans each row into the same columns, until more returns false.
func eachRow(ctx context.Context, db dbsqlc.DBTX, sql string, columns []any, more func() bool) error {
	rows, err := db.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return err
		}
		if !more() {
			return nil
		}
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
