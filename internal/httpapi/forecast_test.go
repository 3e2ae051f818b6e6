package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"dealbox/internal/pgtest"

	"github.com/stretchr/testify/require"
)

const forecastPath = "/api/v1/models/forecast/base"

func TestForecast_NotYetComputed(t *testing.T) {
	t.Parallel()
	tree := open(t).get(forecastPath).json(t)
	require.Nil(t, tree["generated_at"])
	require.NotEmpty(t, tree["model_version"])
	require.Equal(t, "THB", at(t, tree, "forecast", "currency"))
	require.Equal(t, time.Now().UTC().Format("2006-01-")+"01", at(t, tree, "forecast", "start_month"))
	require.Len(t, at(t, tree, "forecast", "monthly_totals"), 12)
	require.Equal(t, json.Number("0"), at(t, tree, "forecast", "summary", "total_forecast"))
	require.Equal(t, json.Number("0"), at(t, tree, "forecast", "summary", "conversion_rate"))
}

// The amounts are such that a float would change them.
func TestForecast_ExactNumbers(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec("UPDATE forecast_scope SET computed_at = '2026-11-24T10:00:00+07'")
	h.MustExec(`INSERT INTO forecast (scope, computed_at, model_version, digest, deals) VALUES ('base', now(), 'v1', '\x00', 5)`)
	h.MustExec("INSERT INTO forecast_currency VALUES (1, 'THB', 3, 123456789012345678.91)")
	h.MustExec(`INSERT INTO forecast_month VALUES
		(1, 'THB', '2026-02-01', 9007199254740993.01, 0.1, 9007199254740993.01, 0.08, 0.02, NULL, NULL, NULL, 1.10, 0),
		(1, 'THB', '2026-03-01', 0.2, 0, 0.2, 0, 0, NULL, NULL, NULL, 0, 2.50)`)

	got := h.get(forecastPath + "?start_month=2026-01&end_month=2026-03-01&currency=thb")
	require.Equal(t, 200, got.StatusCode, string(got.body))
	require.JSONEq(t, `"2026-11-24T03:00:00Z"`, string(mustField(t, got.body, "generated_at")))
	tree := got.json(t)
	months := at(t, tree, "forecast", "monthly_totals").([]any)
	require.Len(t, months, 3)
	require.Equal(t, map[string]any{
		"month": "2026-02-01", "confirmed": json.Number("9007199254740993.01"), "tentative": json.Number("0.1"),
		"total":            json.Number("9007199254740993.11"),
		"confidence_tiers": map[string]any{"high": json.Number("9007199254740993.01"), "medium": json.Number("0.08"), "low": json.Number("0.02")},
		"p10":              nil, "p50": nil, "p90": nil, "billed": json.Number("1.1"), "collected": json.Number("0"),
	}, months[1])
	require.Equal(t, map[string]any{
		"total_confirmed": json.Number("9007199254740993.21"), "total_tentative": json.Number("0.1"),
		"total_forecast": json.Number("9007199254740993.31"), "conversion_rate": json.Number("1"),
		"p10": nil, "p50": nil, "p90": nil, "unscheduled": json.Number("123456789012345678.91"),
		"deals": json.Number("3"), "deals_other_currency": json.Number("2"),
	}, at(t, tree, "forecast", "summary"))

	other := h.get(forecastPath + "?currency=EUR").json(t)
	require.Equal(t, json.Number("0"), at(t, other, "forecast", "summary", "deals"))
	require.Equal(t, json.Number("5"), at(t, other, "forecast", "summary", "deals_other_currency"))
}

func mustField(t *testing.T, body []byte, name string) json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(body, &fields))
	return fields[name]
}

func TestForecast_InvalidParameter(t *testing.T) {
	t.Parallel()
	h := open(t)
	for query, field := range map[string]string{
		"start_month=2026-13": "start_month", "start_month=soon": "start_month", "end_month=1999": "end_month",
		"start_month=2026-05&end_month=2026-04":            "end_month",
		"start_month=1900-01&end_month=2400-01":            "end_month",
		"currency=%00":                                     "currency",
		"currency=%ff":                                     "currency",
		"currency=" + "a-currency-of-far-too-many-letters": "currency",
		"currency=THB&currency=EUR":                        "currency",
	} {
		e := requireError(t, h.get(forecastPath+"?"+query), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": field}, e["details"], query)
	}
}

func TestForecast_Run(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	r := h.request(http.MethodPost, "/api/v1/models/forecast/run", nil)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	got := h.do(r)
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	require.Equal(t, "accepted", got.json(t)["status"])
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM river.river_job WHERE kind = 'forecast_recompute'"))
}
