package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
)

// postgres is a real database with the simulation's clock: functions of the schema
// sim stand before Postgres' own ones of the same names. Transactions run one by
// one, so one connection is enough for the workers. The scheduler has its own.
type postgres struct {
	workers, scheduler *clocked
}

// clocked is a connection that knows what time it was told.
type clocked struct {
	*pgx.Conn

	told time.Time
}

const simulatedClock = `
CREATE SCHEMA sim;
CREATE FUNCTION sim.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.current_setting('sim.now')::timestamptz $$;
CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS $$ SELECT pg_catalog.current_setting('sim.now')::timestamptz $$;
CREATE FUNCTION sim.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT pg_catalog.current_setting('sim.now')::timestamptz $$;
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT d.adrelid::regclass AS relation, a.attname
             FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
             WHERE pg_get_expr(d.adbin, d.adrelid) IN ('now()', 'clock_timestamp()', 'CURRENT_TIMESTAMP') LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT sim.now()', c.relation, c.attname);
    END LOOP;
END $$;
-- Histories begin on 2000-01-01.
CREATE TABLE public.inbox_event_2000 PARTITION OF public.inbox_event FOR VALUES FROM ('1999-12-31') TO ('2001-01-01');
-- Autovacuum locks a table to cut off its empty end, and nobody here waits for a lock.
DO $$
DECLARE c record;
BEGIN
    FOR c IN SELECT oid::regclass AS relation FROM pg_class
             WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace) LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)', c.relation);
    END LOOP;
END $$;`

// empty makes the database new; histories may be emptied by a superuser only.
const empty = `
SET session_replication_role = replica;
DELETE FROM entity_sync; DELETE FROM inbox_event; DELETE FROM inbox_counter; DELETE FROM deal; DELETE FROM billing;
DELETE FROM mirror_change; DELETE FROM forecast_month; DELETE FROM forecast_currency; DELETE FROM forecast;
DELETE FROM alert; DELETE FROM alert_event; DELETE FROM alert_tally; DELETE FROM alert_hour; DELETE FROM notification;
DELETE FROM deletion_guard;
DELETE FROM reconciliation_difference; DELETE FROM reconciliation_run; DELETE FROM circuit_breaker_event;
DELETE FROM river.river_job;
UPDATE forecast_scope SET want = 0, done = 0, dirty_since = NULL, computed_at = NULL;
DELETE FROM circuit_breaker; INSERT INTO circuit_breaker (name) VALUES ('strapi');
SET session_replication_role = origin;`

// newPostgres is called outside the histories' time: connecting takes real time.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	url := pgtest.URL(t)
	plain, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = plain.Exec(t.Context(), simulatedClock)
	require.NoError(t, err)
	require.NoError(t, plain.Close(t.Context()))
	return &postgres{workers: connect(t, url), scheduler: connect(t, url)}
}

func connect(t *testing.T, url string) *clocked {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	config.RuntimeParams["search_path"] = "sim, pg_catalog, public"
	// Whoever holds a lock is stopped, so waiting is in vain.
	config.RuntimeParams["lock_timeout"] = "100ms"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &clocked{Conn: conn}
}

// tell sets the connection's clock to the history's time.
func (c *clocked) tell() error {
	now := time.Now()
	if now.Equal(c.told) {
		return nil
	}
	_, err := c.Exec(context.Background(), "SELECT pg_catalog.set_config('sim.now', $1, false)", now.UTC().Format(time.RFC3339Nano))
	c.told = now
	return err
}

func (p *postgres) begin(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	if err := p.workers.tell(); err != nil {
		return nil, err
	}
	tx, err := p.workers.BeginTx(ctx, options)
	return &postgresTx{tx, p.workers}, err
}

func (p *postgres) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := p.workers.tell(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return p.workers.Exec(ctx, sql, args...)
}

func (p *postgres) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := p.workers.tell(); err != nil {
		return nil, err
	}
	return p.workers.Query(ctx, sql, args...)
}

func (p *postgres) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := p.workers.tell(); err != nil {
		return failedRow{err}
	}
	return p.workers.QueryRow(ctx, sql, args...)
}

type postgresTx struct {
	pgx.Tx

	conn *clocked
}

func (tx *postgresTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := tx.conn.tell(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return tx.Tx.Exec(ctx, sql, args...)
}

func (tx *postgresTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := tx.conn.tell(); err != nil {
		return nil, err
	}
	return tx.Tx.Query(ctx, sql, args...)
}

func (tx *postgresTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := tx.conn.tell(); err != nil {
		return failedRow{err}
	}
	return tx.Tx.QueryRow(ctx, sql, args...)
}

// Rollback also takes back the time that the connection was told.
func (tx *postgresTx) Rollback(ctx context.Context) error {
	tx.conn.told = time.Time{}
	return tx.Tx.Rollback(ctx)
}

// The jobs are River's own rows, inserted by a real client and worked by the scheduler.

func (p *postgres) live() ([]jobRow, error) {
	return collect(p, `SELECT id, kind, args, CASE state WHEN 'running' THEN 'running' ELSE 'available' END, scheduled_at
		FROM river.river_job WHERE state NOT IN ('completed', 'cancelled', 'discarded') ORDER BY id`,
		func(rows pgx.Rows) (j jobRow, err error) {
			var kind string
			var args []byte
			if err := rows.Scan(&j.ID, &kind, &args, &j.State, &j.Due); err != nil {
				return j, err
			}
			j.Args, err = decodeArgs(kind, args)
			return j, err
		})
}

func decodeArgs(kind string, encoded []byte) (river.JobArgs, error) {
	switch kind {
	case mirror.SyncArgs{}.Kind():
		var a mirror.SyncArgs
		err := json.Unmarshal(encoded, &a)
		return a, err
	case reconcile.Args{}.Kind():
		var a reconcile.Args
		err := json.Unmarshal(encoded, &a)
		return a, err
	case revenue.RecomputeArgs{}.Kind():
		return revenue.RecomputeArgs{}, nil
	}
	return nil, errors.New("a job of an unknown kind: " + kind)
}

func (p *postgres) move(id int64, from, to string, due time.Time) error {
	if err := p.scheduler.tell(); err != nil {
		return err
	}
	_, err := p.scheduler.Exec(context.Background(), `UPDATE river.river_job SET
		state = $3::text::river.river_job_state, scheduled_at = $4,
		finalized_at = CASE WHEN $3::text = 'completed' THEN now() END
		WHERE id = $1 AND (state = 'running') = ($2::text = 'running') AND finalized_at IS NULL`, id, from, to, due)
	if pg := (&pgconn.PgError{}); errors.As(err, &pg) && pg.Code == "55P03" {
		return nil // its worker is just completing it
	}
	return err
}

// collect reads with the scheduler's connection.
func collect[T any](p *postgres, sql string, scan func(pgx.Rows) (T, error), args ...any) (all []T, err error) {
	rows, err := p.scheduler.Query(context.Background(), sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// empty begins a history.
func (p *postgres) empty() error {
	p.workers.told, p.scheduler.told = time.Time{}, time.Time{}
	for _, c := range []*clocked{p.workers, p.scheduler} {
		if err := c.tell(); err != nil {
			return err
		}
	}
	_, err := p.scheduler.Exec(context.Background(), empty)
	return err
}
