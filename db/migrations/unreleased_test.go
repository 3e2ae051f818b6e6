package migrations_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/pgtest"
)

// A database from before the first release is refused at whichever step it
// stopped, as it is: not taken for one that is ahead, and not half migrated.
func TestUnreleased_IsRefused(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile("testdata/unreleased.sql")
	require.NoError(t, err)
	pool := open(t, pgtest.EmptyURL(t))
	exec(t, pool, string(old))
	before := schema(t, pool)
	for step := 15; step >= 1; step-- {
		applied, err := migrations.Up(t.Context(), pool, nil)
		require.ErrorIs(t, err, migrations.ErrUnreleased, "step %d", step)
		require.Empty(t, applied)
		require.Equal(t, before, schema(t, pool), "nothing is written")
		var river bool
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT to_regnamespace('river') IS NOT NULL").Scan(&river))
		require.False(t, river)

		err = migrations.Check(t.Context(), pool)
		require.ErrorIs(t, err, migrations.ErrUnreleased, "step %d", step)
		require.NotErrorIs(t, err, migrations.ErrBehind)
		_, err = migrations.Status(t.Context(), pool)
		require.ErrorIs(t, err, migrations.ErrUnreleased, "step %d", step)

		_, err = pool.Exec(t.Context(), "DELETE FROM goose_db_version WHERE version_id = $1", step)
		require.NoError(t, err)
	}
}

// What the error says to do works.
func TestUnreleased_CanBeEmptied(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile("testdata/unreleased.sql")
	require.NoError(t, err)
	pool := open(t, pgtest.EmptyURL(t))
	exec(t, pool, string(old)+"; CREATE SCHEMA river")
	_, err = migrations.Up(t.Context(), pool, nil)
	require.ErrorIs(t, err, migrations.ErrUnreleased)

	_, advice, _ := strings.Cut(err.Error(), "'")
	advice, _, _ = strings.Cut(advice, "'")
	exec(t, pool, advice)
	mustUp(t, pool)
	require.NoError(t, migrations.Check(t.Context(), pool))
}
