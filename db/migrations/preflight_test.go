package migrations_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/pgtest"
)

// What can be known before the first step is said in words, and nothing is written.
func TestUp_Preflight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql  string
		says []string
	}{
		"ForeignTables":   {"CREATE TABLE alert (x int); CREATE VIEW deal AS SELECT 1; CREATE FUNCTION refuse_change() RETURNS int LANGUAGE sql AS 'SELECT 1'", []string{"another program's alert, deal, refuse_change()", "a database of its own"}},
		"NoPublic":        {"DROP SCHEMA public", []string{"CREATE SCHEMA public"}},
		"ForeignRiver":    {"CREATE SCHEMA river; CREATE TABLE river.river_job (x int)", []string{"schema river are not of Dealbox"}},
		"ForeignAndRiver": {"CREATE TABLE silence (x int); CREATE SCHEMA river; CREATE TABLE river.river_job (x int)", []string{"silence", "river"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, pgtest.EmptyURL(t))
			exec(t, pool, c.sql)
			const objects = "SELECT string_agg(nspname || '.' || relname, ' ' ORDER BY 1) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('public', 'river')"
			var before, after *string
			require.NoError(t, pool.QueryRow(t.Context(), objects).Scan(&before))
			_, err := migrations.Up(t.Context(), pool, nil)
			require.ErrorIs(t, err, migrations.ErrUnfit)
			for _, text := range c.says {
				require.ErrorContains(t, err, text)
			}
			require.NoError(t, pool.QueryRow(t.Context(), objects).Scan(&after))
			require.Equal(t, before, after)
		})
	}
}

// The error names every right that a role lacks; with them it migrates.
func TestUp_PreflightOfRights(t *testing.T) {
	t.Parallel()
	admin := open(t, pgtest.EmptyURL(t))
	var role string
	require.NoError(t, admin.QueryRow(t.Context(), "SELECT 'poor_' || current_database()").Scan(&role))
	exec(t, admin, `CREATE ROLE "`+role+`"`)
	exec(t, admin, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), `DROP OWNED BY "`+role+`"; DROP ROLE "`+role+`"`)
		require.NoError(t, err)
	})
	config := admin.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	poor, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(poor.Close)
	_, err = migrations.Up(t.Context(), poor, nil)
	require.ErrorIs(t, err, migrations.ErrUnfit)
	require.ErrorContains(t, err, "may not make tables in schema public")
	require.ErrorContains(t, err, "may not make the schema river: GRANT CREATE ON DATABASE")

	exec(t, admin, `GRANT USAGE, CREATE ON SCHEMA public TO "`+role+`"`)
	exec(t, admin, `DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO "`+role+`"', current_database()); END $$`)
	_, err = migrations.Up(t.Context(), poor, nil)
	require.NoError(t, err)
}
