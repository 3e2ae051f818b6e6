package revenue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
)

// insertSnapshot stores the snapshot, unless the latest one has the same
// content. The transaction must hold the scope's row.
func insertSnapshot(ctx context.Context, tx pgx.Tx, s Snapshot, at time.Time) error {
	id, err := dbsqlc.New().ForecastInsert(ctx, tx, dbsqlc.ForecastInsertParams{
		Scope: scopeBase, ComputedAt: at, ModelVersion: ModelVersion, Digest: s.Digest(), Deals: s.Deals,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("insert the forecast: %w", err)
	}
	if err := dbsqlc.New().ForecastCurrencyInsert(ctx, tx, currencyColumns(id, s)); err != nil {
		return fmt.Errorf("insert the forecast's currencies: %w", err)
	}
	if err := dbsqlc.New().ForecastMonthInsert(ctx, tx, monthColumns(id, s)); err != nil {
		return fmt.Errorf("insert the forecast's months: %w", err)
	}
	return nil
}

func currencyColumns(id int64, s Snapshot) dbsqlc.ForecastCurrencyInsertParams {
	p := dbsqlc.ForecastCurrencyInsertParams{ForecastID: id}
	for _, c := range s.Currencies {
		p.Currencies = append(p.Currencies, c.Code)
		p.Deals = append(p.Deals, c.Deals)
		p.Unscheduled = append(p.Unscheduled, c.Unscheduled.StringFixed(2))
	}
	return p
}

func monthColumns(id int64, s Snapshot) dbsqlc.ForecastMonthInsertParams {
	p := dbsqlc.ForecastMonthInsertParams{ForecastID: id}
	for _, c := range s.Currencies {
		for _, m := range c.Months {
			p.Currencies = append(p.Currencies, c.Code)
			p.Months = append(p.Months, m.Month.Start())
			p.Confirmed = append(p.Confirmed, m.Confirmed.StringFixed(2))
			p.Tentative = append(p.Tentative, m.Tentative.StringFixed(2))
			p.TierHigh = append(p.TierHigh, m.Tiers.High.StringFixed(2))
			p.TierMedium = append(p.TierMedium, m.Tiers.Medium.StringFixed(2))
			p.TierLow = append(p.TierLow, m.Tiers.Low.StringFixed(2))
			p.Billed = append(p.Billed, m.Billed.StringFixed(2))
			p.Collected = append(p.Collected, m.Collected.StringFixed(2))
		}
	}
	return p
}
