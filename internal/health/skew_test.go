package health

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/level"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Past 30 s no worker starts, so nothing is processed: that is more than a warning.
func TestSkewAlert(t *testing.T) {
	t.Parallel()
	for skew, want := range map[Skew]level.Level{
		Skew(3 * time.Second): level.Warning, Skew(30 * time.Second): level.Warning,
		Skew(31 * time.Second): level.Critical, Skew(-time.Hour): level.Critical,
	} {
		require.Equal(t, want, skewAlert("host-1", skew).Level, skew)
	}
	require.Equal(t, "compared with the database, the clock of host-1 is 3 s behind; set both by NTP",
		skewAlert("host-1", Skew(-3*time.Second)).Message)
}

func TestSkew_String(t *testing.T) {
	t.Parallel()
	for skew, want := range map[time.Duration]string{
		3 * time.Second: "3 s ahead", -3 * time.Second: "3 s behind",
		-2001499 * time.Microsecond: "2.001 s behind", 90 * time.Second: "1m30s ahead", 0: "0 s ahead",
	} {
		require.Equal(t, want, Skew(skew).String())
	}
}

func TestMeasureClock(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	skew, roundTrip, err := MeasureClock(t.Context(), pool)
	require.NoError(t, err)
	require.Positive(t, roundTrip)
	require.LessOrEqual(t, skew.abs(), roundTrip+time.Second, "the test server runs on this machine")

	// A database whose clock is an hour behind this machine's.
	skew, roundTrip, err = MeasureClock(t.Context(), hourBehind{pool})
	require.NoError(t, err)
	require.InDelta(t, time.Hour, time.Duration(skew), float64(roundTrip+time.Second))
}

type hourBehind struct{ *pgxpool.Pool }

func (h hourBehind) QueryRow(ctx context.Context, _ string, _ ...any) pgx.Row {
	return h.Pool.QueryRow(ctx, "SELECT clock_timestamp() - interval '1 hour'")
}
