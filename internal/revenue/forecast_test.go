package revenue

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

func TestForecast_MarkDirty(t *testing.T) {
	t.Parallel()
	t.Run("ManyMarksMakeOneJob", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t)
		f := newForecast(t, pool, 0)
		require.Nil(t, scope(t, pool).DirtySince)

		mark(t, pool, f)
		since := scope(t, pool).DirtySince
		require.NotNil(t, since)
		inTx(t, pool, func(tx pgx.Tx) error {
			for range 20 {
				require.NoError(t, f.MarkDirty(t.Context(), tx))
			}
			return f.Request(t.Context(), tx)
		})
		s := scope(t, pool)
		require.Equal(t, int64(22), s.Want)
		require.Zero(t, s.Done)
		require.Equal(t, since, s.DirtySince, "dirty since the first mark")
		require.Equal(t, 1, jobCount(t, pool))
	})

	t.Run("OfManyAtOnceOneInsertsTheJob", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t)
		f := newForecast(t, pool, 0)
		errs := make(chan error)
		for range 8 {
			go func() {
				errs <- pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return f.MarkDirty(t.Context(), tx) })
			}()
		}
		for range 8 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, int64(8), scope(t, pool).Want)
		require.Equal(t, 1, jobCount(t, pool))
	})

	t.Run("RolledBack", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t)
		f := newForecast(t, pool, 0)
		tx := begin(t, pool)
		require.NoError(t, f.MarkDirty(t.Context(), tx))
		require.NoError(t, tx.Rollback(t.Context()))
		require.Zero(t, scope(t, pool).Want)
		require.Zero(t, jobCount(t, pool))

		mark(t, pool, f)
		require.Equal(t, 1, jobCount(t, pool), "the next mark makes the job")
	})

	t.Run("NoScope", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t)
		f := newForecast(t, pool, 0)
		exec(t, pool, "DELETE FROM forecast_scope")
		err := f.MarkDirty(t.Context(), begin(t, pool))
		require.ErrorContains(t, err, "forecast_scope has no row 'base'")
	})
}
