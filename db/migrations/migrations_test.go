package migrations_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// races is how often an empty database is migrated. One takes a second of a core,
// so `make test-migrations` runs 100 and every other test run fewer.
var races = flag.Int("races", 20, "how many races TestUp_Race runs")

const (
	racers = 3 // replicas at once
	lanes  = 4 // databases; emptying one is cheaper than making one
)

// Any number of replicas may migrate one database at once: each of them
// succeeds, each step is applied once, and the schema is the one that a lone
// migration makes.
func TestUp_Race(t *testing.T) {
	t.Parallel()
	lone := open(t, pgtest.EmptyURL(t))
	steps := len(mustUp(t, lone))
	want := schema(t, lone)
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			t.Parallel()
			url := pgtest.EmptyURL(t)
			for n := lane; n < *races; n += lanes {
				race(t, url, steps, want)
			}
		})
	}
}

func race(t *testing.T, url string, steps int, want string) {
	t.Helper()
	pools := make([]*pgxpool.Pool, racers)
	for i := range pools {
		pools[i] = open(t, url)
	}
	var (
		all     sync.WaitGroup
		start   = make(chan struct{})
		applied [racers][]migrations.Migration
		errs    [racers]error
	)
	for i, pool := range pools {
		all.Go(func() {
			<-start
			applied[i], errs[i] = migrations.Up(t.Context(), pool, nil)
		})
	}
	close(start)
	all.Wait()
	total := 0
	for i := range racers {
		require.NoError(t, errs[i])
		total += len(applied[i])
	}
	require.Equal(t, steps, total, "each step once")
	require.Equal(t, want, schema(t, pools[0]))
	exec(t, pools[0], "DROP SCHEMA river CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	for _, pool := range pools {
		pool.Close()
	}
}

// Only what is missing is applied, so a second time nothing is done.
func TestUp_SecondTimeDoesNothing(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.EmptyURL(t))
	var reported []migrations.Migration
	applied, err := migrations.Up(t.Context(), pool, func(m migrations.Migration) { reported = append(reported, m) })
	require.NoError(t, err)
	require.Equal(t, applied, reported)
	before := schema(t, pool)

	require.Empty(t, mustUp(t, pool))
	require.Equal(t, before, schema(t, pool))
}

// A step that fails names itself and why, undoes itself, and leaves the steps
// before it. When the obstacle is gone the next call goes on.
func TestUp_StepFails(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.EmptyURL(t))
	exec(t, pool, `CREATE FUNCTION obstacle() RETURNS event_trigger LANGUAGE plpgsql AS
		$$ BEGIN IF current_query() ~ 'TABLE forecast_month' THEN RAISE 'not here'; END IF; END $$;
		CREATE EVENT TRIGGER obstacle ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION obstacle()`)
	applied, err := migrations.Up(t.Context(), pool, nil)
	require.ErrorContains(t, err, "00103_forecast.sql")
	require.ErrorContains(t, err, "not here")
	require.Equal(t, "00102_mirror.sql", applied[len(applied)-1].Name)
	require.False(t, exists(t, pool, "forecast_scope"), "the first table of the step that failed")
	require.ErrorIs(t, migrations.Check(t.Context(), pool), migrations.ErrBehind)

	exec(t, pool, "DROP EVENT TRIGGER obstacle; DROP FUNCTION obstacle()")
	remaining := mustUp(t, pool)
	require.Equal(t, "00103_forecast.sql", remaining[0].Name)
	require.NoError(t, migrations.Check(t.Context(), pool))
	fresh := open(t, pgtest.EmptyURL(t))
	mustUp(t, fresh)
	require.Equal(t, schema(t, fresh), schema(t, pool))
}

// Whoever waits for the lock is not ended by its role's lock_timeout.
func TestUp_WaitsForTheLock(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	// Only the session that takes the lock. The steps have sessions of their own and
	// keep their timeout, on purpose: a step had better fail, undone, than hold up
	// the writers behind it. On a busy server a step does wait for 1 ms, for a catalog
	// that all databases share.
	var sessions atomic.Int32
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if sessions.Add(1) == 1 {
			c.RuntimeParams["lock_timeout"] = "1ms"
		}
		return nil
	}
	impatient, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(impatient.Close)

	other := open(t, url)
	holder, err := other.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(holder.Release)
	const lockID = 0x6465616c626f78 // that of the package: a change of it lets two versions migrate at once
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(lockID))
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() {
		_, err := migrations.Up(t.Context(), impatient, nil)
		done <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		require.NoError(t, other.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"+
			" AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))").Scan(&waits))
		return waits
	}, time.Minute, 5*time.Millisecond)
	require.False(t, exists(t, other, "deal"), "nothing is written without the lock")
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_unlock($1)", int64(lockID))
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.NoError(t, migrations.Check(t.Context(), other))
}

func TestStatus(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.EmptyURL(t))
	before, err := migrations.Status(t.Context(), pool)
	require.NoError(t, err)
	require.Empty(t, schema(t, pool), "Status writes nothing")
	for _, m := range before {
		require.False(t, m.Applied)
	}
	require.ErrorIs(t, migrations.Check(t.Context(), pool), migrations.ErrBehind)

	applied := mustUp(t, pool)
	after, err := migrations.Status(t.Context(), pool)
	require.NoError(t, err)
	require.Len(t, after, len(applied))
	for i, m := range after {
		require.True(t, m.Applied, m)
		require.Equal(t, []any{before[i].Set, before[i].Version, before[i].Name}, []any{m.Set, m.Version, m.Name})
		require.Equal(t, m.Set == "dealbox", !m.At.IsZero(), "River notes no time that we read")
	}
	require.NoError(t, migrations.Check(t.Context(), pool))
}

// Behind is named by the first step that is missing; ahead is accepted.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ change, missing string }{
		"up to date":        {"SELECT", ""},
		"ours is behind":    {"DELETE FROM goose_db_version WHERE version_id = 107", "dealbox 107 00107_notification.sql"},
		"River's is behind": {"DELETE FROM river.river_migration WHERE version = (SELECT max(version) FROM river.river_migration)", "river "},
		"ours is ahead":     {"INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)", ""},
		"River's is ahead":  {"INSERT INTO river.river_migration (line, version) VALUES ('main', 9999)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := open(t, pgtest.URL(t))
			exec(t, pool, test.change)
			err := migrations.Check(t.Context(), pool)
			if test.missing == "" {
				require.NoError(t, err)
				require.Empty(t, mustUp(t, pool), "nothing to do for this version")
				return
			}
			require.ErrorIs(t, err, migrations.ErrBehind)
			require.ErrorContains(t, err, "dealbox migrate up")
			require.ErrorContains(t, err, test.missing)
		})
	}
}

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func mustUp(t *testing.T, pool *pgxpool.Pool) []migrations.Migration {
	t.Helper()
	applied, err := migrations.Up(t.Context(), pool, nil)
	require.NoError(t, err)
	return applied
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func exists(t *testing.T, pool *pgxpool.Pool, table string) (is bool) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT to_regclass('public.' || $1) IS NOT NULL", table).Scan(&is))
	return is
}

// schema returns all that migrations make, one line for each thing. It leaves out
// day partitions: their names and bounds depend on the day.
func schema(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var lines []string
	require.NoError(t, pool.QueryRow(t.Context(), schemaQuery).Scan(&lines))
	return strings.Join(lines, "\n")
}

const schemaQuery = `
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'river')),
relation AS (SELECT c.* FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM ours) AND NOT c.relispartition
             AND c.relname NOT LIKE 'goose_db_version%')
SELECT coalesce(array_agg(line ORDER BY line), '{}') FROM (
    SELECT format('%s %s %s', relkind, oid::regclass, obj_description(oid, 'pg_class')) FROM relation
    UNION ALL
    SELECT format('%s.%s %s not null %s default %s: %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
    FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    UNION ALL
    SELECT pg_get_indexdef(oid) FROM relation WHERE relkind IN ('i', 'I')
    UNION ALL
    SELECT pg_get_viewdef(oid) FROM relation WHERE relkind = 'v'
    UNION ALL
    SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relation)
    UNION ALL
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relation) AND NOT tgisinternal
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND prokind = 'f'
    UNION ALL
    SELECT format('type %s', oid::regtype) FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours) AND typtype = 'e'
) AS all_of_it (line)`
