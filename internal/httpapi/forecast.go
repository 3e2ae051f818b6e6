package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"dealbox/internal/operator"
	"dealbox/internal/revenue"
)

// amount encodes a decimal as a JSON number with all of its digits. decimal's own
// encoding is a string; a float would not be exact.
type amount decimal.Decimal

func (a amount) MarshalJSON() ([]byte, error) { return []byte(decimal.Decimal(a).String()), nil }

type forecastAnswer struct {
	Forecast     forecastBody `json:"forecast"`
	GeneratedAt  *time.Time   `json:"generated_at"`
	ModelVersion string       `json:"model_version"`
}

type forecastBody struct {
	StartMonth    revenue.Month   `json:"start_month"`
	EndMonth      revenue.Month   `json:"end_month"`
	Currency      string          `json:"currency"`
	MonthlyTotals []monthAnswer   `json:"monthly_totals"`
	Summary       forecastSummary `json:"summary"`
}

type monthAnswer struct {
	Month           revenue.Month `json:"month"`
	Confirmed       amount        `json:"confirmed"`
	Tentative       amount        `json:"tentative"`
	Total           amount        `json:"total"`
	ConfidenceTiers tiersAnswer   `json:"confidence_tiers"`
	quantiles
	Billed    amount `json:"billed"`
	Collected amount `json:"collected"`
}

type tiersAnswer struct {
	High   amount `json:"high"`
	Medium amount `json:"medium"`
	Low    amount `json:"low"`
}

// quantiles are null until they are computed.
type quantiles struct {
	P10 *amount `json:"p10"`
	P50 *amount `json:"p50"`
	P90 *amount `json:"p90"`
}

type forecastSummary struct {
	TotalConfirmed amount `json:"total_confirmed"`
	TotalTentative amount `json:"total_tentative"`
	TotalForecast  amount `json:"total_forecast"`
	ConversionRate amount `json:"conversion_rate"`
	quantiles
	Unscheduled        amount `json:"unscheduled"`
	Deals              int64  `json:"deals"`
	DealsOtherCurrency int64  `json:"deals_other_currency"`
}

// showForecast serves GET /api/v1/models/forecast/base.
func (a *API) showForecast(w http.ResponseWriter, r *http.Request) error {
	p := parseParams(r)
	query := revenue.Query{
		Start:    single(p, "start_month", revenue.ParseMonth),
		End:      single(p, "end_month", revenue.ParseMonth),
		Currency: currency(p),
	}
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	view, err := a.stages.Forecast.Base(ctx, a.stages.DB, query, time.Now())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, renderForecast(view))
}

// currency returns a code, or whatever text deals in Strapi have instead of one.
func currency(p *params) string {
	code := p.one("currency")
	if len(code) > 32 || !utf8.ValidString(code) || strings.ContainsFunc(code, unicode.IsControl) {
		p.fail("currency", "it must be a code of at most 32 bytes")
		return ""
	}
	return code
}

// runForecast serves POST /api/v1/models/forecast/run: 202 once the recompute is
// queued, not when it is done.
func (a *API) runForecast(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, a.stages.DB, func(tx pgx.Tx) error {
		if err := operator.Record(ctx, tx, actor(w), operator.ForecastRun, map[string]any{}); err != nil {
			return err
		}
		return a.stages.Forecast.Request(ctx, tx) // last: it locks the forecast's row
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, map[string]string{"status": "accepted", "action": "forecast_recompute_queued"})
}

func renderForecast(v revenue.View) forecastAnswer {
	answer := forecastAnswer{GeneratedAt: v.GeneratedAt, ModelVersion: v.ModelVersion}
	answer.Forecast = forecastBody{
		StartMonth: v.Start, EndMonth: v.End, Currency: v.Currency,
		MonthlyTotals: make([]monthAnswer, len(v.Months)),
		Summary: forecastSummary{
			TotalConfirmed: amount(v.Summary.Confirmed), TotalTentative: amount(v.Summary.Tentative),
			TotalForecast: amount(v.Summary.Total), ConversionRate: amount(v.Summary.ConversionRate),
			Unscheduled: amount(v.Summary.Unscheduled),
			Deals:       v.Summary.Deals, DealsOtherCurrency: v.Summary.DealsOtherCurrency,
		},
	}
	for i, m := range v.Months {
		answer.Forecast.MonthlyTotals[i] = monthAnswer{
			Month: m.Month, Confirmed: amount(m.Confirmed), Tentative: amount(m.Tentative),
			Total:           amount(m.Total()),
			ConfidenceTiers: tiersAnswer{High: amount(m.Tiers.High), Medium: amount(m.Tiers.Medium), Low: amount(m.Tiers.Low)},
			Billed:          amount(m.Billed), Collected: amount(m.Collected),
		}
	}
	return answer
}
