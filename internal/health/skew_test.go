package health

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/jobs"
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

// A clock that keeps workers from starting is handed on each time, once the alert is
// raised: nobody else may be there to send it.
func TestClockWatch_WaitForWorkersReportsWhatStopsThem(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	// The database's clock is an hour behind, for the sessions that find this function first.
	db.MustExec("CREATE SCHEMA slow")
	db.MustExec("CREATE FUNCTION slow.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() - interval '1 hour' $$")
	config := db.Pool.Config()
	config.ConnConfig.RuntimeParams["search_path"] = "slow, pg_catalog, public"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	var raised, stopped []SkewAlert
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := NewClockWatch(ClockConfig{
		Host: "host-1", Pool: pool, Clock: &jobs.Clock{}, Logger: slog.New(slog.DiscardHandler), Interval: time.Millisecond,
		Raise: func(_ context.Context, _ pgx.Tx, a SkewAlert) error { raised = append(raised, a); return nil },
		Stopped: func(_ context.Context, a SkewAlert) {
			if stopped = append(stopped, a); len(stopped) == 2 {
				cancel()
			}
		},
	})
	require.ErrorIs(t, w.WaitForWorkers(ctx), context.Canceled)
	require.Len(t, stopped, 2)
	require.Len(t, raised, 2, "from the second measurement on")
	require.Equal(t, level.Critical, stopped[0].Level)
}
