package revenue

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// swingSpan is how far the compared snapshot lies back. Within it a first import
// has come to rest.
const swingSpan = time.Hour

// swing is by how much the total differs from the one before, in percent of that.
// From nothing there is no percentage: a first import is no swing.
func swing(before, total decimal.Decimal) decimal.Decimal {
	if !before.IsPositive() {
		return decimal.Zero
	}
	return total.Sub(before).Mul(decimal.NewFromInt(100)).DivRound(before, 1)
}

// watchSwing compares the snapshot that tx has stored with the one of an hour ago,
// and raises or resolves. As each snapshot is compared with one that moves along,
// a real change is an open warning for an hour, and a mistake until it is undone.
func (f *Forecast) watchSwing(ctx context.Context, tx pgx.Tx, at time.Time) error {
	if f.config.Alerts == nil || f.config.SwingPercent <= 0 {
		return nil
	}
	totals, err := dbsqlc.New().ForecastTotals(ctx, tx, dbsqlc.ForecastTotalsParams{
		Scope: scopeBase, Currency: f.config.Currency, ComparedWith: at.Add(-swingSpan), FirstMonth: MonthOf(at.In(f.config.Location)).Start(),
	})
	if err != nil {
		return fmt.Errorf("compare with the forecast of an hour ago: %w", err)
	}
	percent := swing(totals.Before, totals.Total)
	if percent.Abs().LessThanOrEqual(decimal.NewFromInt(int64(f.config.SwingPercent))) {
		_, err := f.config.Alerts.Resolve(ctx, tx, alerting.RuleForecastSwing, f.config.Currency, alerting.EndForecastSwing)
		return err
	}
	_, err = f.config.Alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleForecastSwing, Subject: f.config.Currency, Level: level.Warning,
		Message: alerting.ForecastSwing(f.config.Currency, totals.Total.StringFixed(2), totals.Before.StringFixed(2), percent.StringFixed(1)),
		Details: map[string]any{"total": totals.Total.StringFixed(2), "before": totals.Before.StringFixed(2), "percent": percent.StringFixed(1)},
	})
	return err
}
