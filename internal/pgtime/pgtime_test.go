package pgtime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The pools of tests use it, as those of the service do. Without it the location is
// time.Local, also on a machine whose zone is UTC.
func TestUseUTC(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	var at time.Time
	var maybe *time.Time
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT now(), now()").Scan(&at, &maybe))
	require.Equal(t, time.UTC, at.Location())
	require.Equal(t, time.UTC, maybe.Location())
}
