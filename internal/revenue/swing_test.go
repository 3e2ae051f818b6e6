package revenue

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
)

func TestSwing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, total, percent string }{
		{"100", "125", "25"}, {"100", "74.9", "-25.1"}, {"0", "1000", "0"}, {"-1", "1000", "0"}, {"3", "4", "33.3"}, {"100", "0", "-100"},
	} {
		got := swing(decimal.RequireFromString(c.before), decimal.RequireFromString(c.total))
		require.True(t, got.Equal(decimal.RequireFromString(c.percent)), "%s -> %s: %s", c.before, c.total, got)
	}
}

func TestForecast_Swing(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(t, err)
	f := New(Config{Currency: "THB", SwingPercent: 25, Alerts: alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))}, inserter)
	at := time.Now()
	snapshot := func(age time.Duration, total string) {
		exec(t, pool, `WITH f AS (INSERT INTO forecast (scope, computed_at, model_version, digest, deals)
			VALUES ('base', $1, 'test', sha256($2::text::bytea), 1) RETURNING id)
			INSERT INTO forecast_month (forecast_id, currency, month, confirmed, tentative, tier_high, tier_medium, tier_low, billed, collected)
			SELECT id, 'THB', $3, $2::text::numeric, 0, 0, 0, 0, 0, 0 FROM f`, at.Add(-age), total, MonthOf(at.UTC()).Start())
	}
	watch := func() (state string) {
		inTx(t, pool, func(tx pgx.Tx) error { return f.watchSwing(t.Context(), tx, at) })
		get(t, pool, &state, `SELECT coalesce((SELECT level || ' ' || status || ' ' || (details->>'percent') FROM alert WHERE rule = 'forecast_swing'), '')`)
		return state
	}
	snapshot(50*time.Minute, "10")
	snapshot(0, "100")
	require.Empty(t, watch(), "a first import is no swing")
	snapshot(2*time.Hour, "80")
	snapshot(0, "100")
	require.Empty(t, watch(), "25 % is not beyond 25 %")
	snapshot(0, "59")
	require.Equal(t, "warning firing -26.3", watch())
	snapshot(0, "81")
	require.Equal(t, "warning resolved -26.3", watch())
}
