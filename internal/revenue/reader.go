package revenue

import (
	"context"
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
)

// Query is a part of the forecast. What is not given is: the current
// month, HorizonMonths months in all, Config.Currency.
type Query struct {
	Start    *Month
	End      *Month // included
	Currency string
}

// View is the forecast of one currency in a window of months.
type View struct {
	Start    Month
	End      Month // included
	Currency string
	Months   []Amounts // every month of the window, also those without any value
	Summary  Summary
	// GeneratedAt is when the forecast was last computed, also if nothing had
	// changed. Nil: never; then all amounts are 0.
	GeneratedAt  *time.Time
	ModelVersion string
}

// Summary sums the window up. Unscheduled and the counts do not depend on it.
type Summary struct {
	Confirmed decimal.Decimal
	Tentative decimal.Decimal
	Total     decimal.Decimal
	// ConversionRate is confirmed / total, rounded to 4 digits; 0 when total is 0.
	ConversionRate     decimal.Decimal
	Unscheduled        decimal.Decimal
	Deals              int64 // that count and are in the currency
	DealsOtherCurrency int64 // that count and are not
}

// Base reads the latest forecast. The current month is the one of now. A window
// that cannot be is a *paging.FieldError. It reads Postgres at most twice, about one
// snapshot, so the answer is consistent without a transaction.
func (f *Forecast) Base(ctx context.Context, db dbsqlc.DBTX, q Query, now time.Time) (View, error) {
	start, end, err := f.window(q, now)
	if err != nil {
		return View{}, err
	}
	view := View{
		Start: start, End: end, Currency: currencyCode(q.Currency, f.config.Currency), ModelVersion: ModelVersion,
	}
	latest, err := dbsqlc.New().ForecastLatest(ctx, db, dbsqlc.ForecastLatestParams{Scope: scopeBase, Currency: view.Currency})
	if err != nil {
		return View{}, fmt.Errorf("read the latest forecast: %w", err)
	}
	var stored []dbsqlc.ForecastMonthsRow
	if latest.ID != nil {
		view.GeneratedAt, view.ModelVersion = latest.ComputedAt, *latest.ModelVersion
		view.Summary = counts(latest)
		stored, err = dbsqlc.New().ForecastMonths(ctx, db, dbsqlc.ForecastMonthsParams{
			ForecastID: *latest.ID, Currency: view.Currency, FirstMonth: start.Start(), LastMonth: end.Start(),
		})
		if err != nil {
			return View{}, fmt.Errorf("read the forecast's months: %w", err)
		}
	}
	view.fill(stored)
	return view, nil
}

func counts(latest dbsqlc.ForecastLatestRow) Summary {
	s := Summary{Unscheduled: latest.Unscheduled.Decimal}
	if latest.CurrencyDeals != nil {
		s.Deals = *latest.CurrencyDeals
	}
	s.DealsOtherCurrency = *latest.Deals - s.Deals
	return s
}

// fill puts the stored months, which are in order, among the empty ones.
func (v *View) fill(stored []dbsqlc.ForecastMonthsRow) {
	v.Months = make([]Amounts, 0, v.End-v.Start+1)
	for m := v.Start; m <= v.End; m++ {
		a := Amounts{Month: m}
		if len(stored) > 0 && MonthOf(stored[0].Month) == m {
			a, stored = amountsOf(stored[0]), stored[1:]
		}
		v.Months = append(v.Months, a)
		v.Summary.Confirmed = v.Summary.Confirmed.Add(a.Confirmed)
		v.Summary.Tentative = v.Summary.Tentative.Add(a.Tentative)
	}
	v.Summary.Total = v.Summary.Confirmed.Add(v.Summary.Tentative)
	if !v.Summary.Total.IsZero() {
		v.Summary.ConversionRate = v.Summary.Confirmed.DivRound(v.Summary.Total, 4)
	}
}

func amountsOf(row dbsqlc.ForecastMonthsRow) Amounts {
	return Amounts{
		Month:     MonthOf(row.Month),
		Confirmed: row.Confirmed,
		Tentative: row.Tentative,
		Tiers:     Tiers{High: row.TierHigh, Medium: row.TierMedium, Low: row.TierLow},
		Billed:    row.Billed,
		Collected: row.Collected,
	}
}

// Status is how fresh the forecast is.
type Status struct {
	ComputedAt *time.Time // nil: never
	// Stale: it is not what Strapi's documents add up to now, because its recompute
	// waits, or a document does or is a dead letter. Under traffic that is so for a
	// moment after every change; StaleSince tells a moment from a standstill.
	Stale      bool
	StaleSince *time.Time // nil unless stale; by the database's clock
}

// Status reads how fresh the forecast is.
func (f *Forecast) Status(ctx context.Context, db dbsqlc.DBTX) (Status, error) {
	row, err := dbsqlc.New().ForecastStatus(ctx, db, scopeBase)
	if err != nil {
		return Status{}, fmt.Errorf("read the state of the forecast: %w", err)
	}
	status := Status{ComputedAt: row.ComputedAt, Stale: row.Dirty || row.Behind}
	if row.Dirty {
		status.StaleSince = row.DirtySince
	}
	if row.Behind && (status.StaleSince == nil || row.BehindSince.Before(*status.StaleSince)) {
		status.StaleSince = &row.BehindSince
	}
	return status, nil
}
