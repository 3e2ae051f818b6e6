package simulation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
)

// postgres is a database with the simulation's clock: functions of the schema sim
// stand before Postgres' own ones of the same names.
type postgres struct {
	idle    []*clocked // connections without a transaction
	holders int        // transactions that may hold a lock
	// direct runs the workers' statements outside transactions, scheduler its own.
	direct, scheduler *clocked
	histories         int
	vacuum            string // SQL
}

// vacuumEvery is after how many histories dead rows are removed: nobody else does.
const vacuumEvery = 20

// transactionsAtOnce is the size of the pool. Who finds it empty waits.
const transactionsAtOnce = 12

// clocked is a connection that has the history's time in sim.now.
type clocked struct {
	*pgx.Conn

	now time.Time
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
DELETE FROM alert_member; DELETE FROM alert; DELETE FROM alert_event; DELETE FROM alert_tally; DELETE FROM alert_hour; DELETE FROM notification;
DELETE FROM deletion_guard; DELETE FROM strapi_attribute;
DELETE FROM reconciliation_difference; DELETE FROM reconciliation_staged; DELETE FROM reconciliation_type; DELETE FROM reconciliation_run; DELETE FROM circuit_breaker_event;
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
	p := &postgres{direct: connect(t, url), scheduler: connect(t, url)}
	require.NoError(t, p.scheduler.QueryRow(t.Context(), `SELECT 'VACUUM ' || string_agg(oid::regclass::text, ', ') FROM pg_class
		WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace)`).Scan(&p.vacuum))
	for range transactionsAtOnce {
		p.idle = append(p.idle, connect(t, url))
	}
	return p
}

func connect(t *testing.T, url string) *clocked {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	config.RuntimeParams["search_path"] = "sim, pg_catalog, public"
	// Whoever holds a lock is stopped, so waiting is in vain.
	config.RuntimeParams["lock_timeout"] = "1ms"
	// Postgres forgets an interrupt that comes together with a lock timeout, until the
	// next one. A barrier that it forgets stops every DROP DATABASE of the server, and
	// with it all other tests (seen for minutes on 15.18). This timer is a next one.
	config.RuntimeParams["client_connection_check_interval"] = "200ms"
	config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	config.RuntimeParams["jit"] = "off"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	keepReading(conn)
	// One that began while connecting ends with the next answer.
	require.NoError(t, conn.Ping(t.Context()))
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &clocked{Conn: conn}
}

// keepReading makes pgx read in the goroutine that asks. When a write takes over
// 15 ms, as on a busy machine, pgx begins to read in a goroutine of its own, outside
// of the history's bubble, and Go ends a program whose bubble is woken from outside.
func keepReading(conn *pgx.Conn) {
	fields := reflect.ValueOf(conn.PgConn()).Elem()
	field := func(name string) reflect.Value {
		f := fields.FieldByName(name)
		return reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Elem()
	}
	started := field("bgReaderStarted").Interface().(chan struct{})
	timer := time.AfterFunc(math.MaxInt64, func() { started <- struct{}{} }) // pgx waits for it
	timer.Stop()
	field("slowWriteTimer").Set(reflect.ValueOf(timer))
}

// isLocked reports whether a statement met another transaction's lock
// (lock_not_available).
func isLocked(err error) bool {
	pg := &pgconn.PgError{}
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// savepoint is where a statement that meets a lock goes back to.
const savepoint = "SAVEPOINT statement"

// send runs statements in one round trip: the history's time is set, then come
// those before, then sql, whose result is the next one of the returned batch.
func (c *clocked) send(sql string, args []any, before ...string) (pgx.BatchResults, error) {
	batch := &pgx.Batch{}
	if now := time.Now(); !now.Equal(c.now) {
		c.now = now
		batch.Queue("SELECT pg_catalog.set_config('sim.now', $1, false)", now.UTC().Format(time.RFC3339Nano))
	}
	for _, b := range before {
		batch.Queue(b)
	}
	n := batch.Len()
	batch.Queue(sql, args...)
	results := c.SendBatch(context.Background(), batch)
	for range n {
		if _, err := results.Exec(); err != nil {
			return nil, errors.Join(err, results.Close())
		}
	}
	return results, nil
}

func (c *clocked) exec(sql string, args []any, before ...string) (pgconn.CommandTag, error) {
	results, err := c.send(sql, args, before...)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	return tag, cmp.Or(err, results.Close())
}

// query reads all rows, because only the last one shows that no lock was met.
func (c *clocked) query(sql string, args []any, before ...string) (pgx.Rows, error) {
	results, err := c.send(sql, args, before...)
	if err != nil {
		return nil, err
	}
	rows, err := readAll(results.Query())
	return rows, cmp.Or(err, results.Close())
}

func (p *postgres) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return p.direct.exec(sql, args)
}

func (p *postgres) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	return p.direct.query(sql, args)
}

func (p *postgres) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	return firstOf(p.direct.query(sql, args))
}

func (p *postgres) CopyFrom(ctx context.Context, into pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	return p.direct.CopyFrom(ctx, into, columns, from)
}

// begin takes a connection from the pool. An empty pool is like a lock that others hold.
func (p *postgres) begin(options pgx.TxOptions) (*postgresTx, error) {
	if len(p.idle) == 0 {
		return nil, &pgconn.PgError{Code: "55P03", Message: "the pool is empty"}
	}
	c := p.idle[len(p.idle)-1]
	tx, err := c.BeginTx(context.Background(), options)
	if err != nil {
		return nil, err
	}
	p.idle = p.idle[:len(p.idle)-1]
	return &postgresTx{Tx: tx, db: p, conn: c}, nil
}

// postgresTx is a transaction that survives a statement which meets a lock.
type postgresTx struct {
	pgx.Tx

	db    *postgres
	conn  *clocked
	holds bool // perhaps a lock
}

// before returns what precedes a statement: a savepoint, if another transaction can
// hold a lock that it needs.
func (tx *postgresTx) before(sql string) []string {
	if len(writes(sql)) == 0 {
		return nil
	}
	if !tx.holds {
		tx.holds = true
		tx.db.holders++
	}
	if tx.db.holders == 1 {
		return nil
	}
	return []string{savepoint}
}

// after undoes a statement that met a lock, so that the gate can run it again.
func (tx *postgresTx) after(err error) error {
	if isLocked(err) {
		_, failed := tx.Tx.Exec(context.Background(), "ROLLBACK TO "+savepoint)
		return errors.Join(err, failed)
	}
	return err
}

func (tx *postgresTx) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tag, err := tx.conn.exec(sql, args, tx.before(sql)...)
	return tag, tx.after(err)
}

func (tx *postgresTx) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	rows, err := tx.conn.query(sql, args, tx.before(sql)...)
	return rows, tx.after(err)
}

func (tx *postgresTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return firstOf(tx.Query(ctx, sql, args...))
}

// CopyFrom inserts rows with new ids, so it waits for nobody.
func (tx *postgresTx) CopyFrom(ctx context.Context, into pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error) {
	return tx.conn.CopyFrom(ctx, into, columns, from)
}

func (tx *postgresTx) Commit(ctx context.Context) error {
	tx.end()
	return tx.Tx.Commit(ctx)
}

// Rollback also takes back the time that the connection was given.
func (tx *postgresTx) Rollback(ctx context.Context) error {
	tx.conn.now = time.Time{}
	tx.end()
	return tx.Tx.Rollback(ctx)
}

func (tx *postgresTx) end() {
	if tx.holds {
		tx.db.holders--
	}
	tx.db.idle = append(tx.db.idle, tx.conn)
}

// allRows is a result that was read to its end.
type allRows struct {
	pgx.Rows // what nobody uses is not there

	types  *pgtype.Map
	fields []pgconn.FieldDescription
	values [][][]byte
	at     int
}

func readAll(rows pgx.Rows, err error) (pgx.Rows, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := &allRows{types: rows.Conn().TypeMap(), fields: slices.Clone(rows.FieldDescriptions()), at: -1}
	for rows.Next() {
		var row [][]byte
		for _, v := range rows.RawValues() {
			row = append(row, bytes.Clone(v))
		}
		all.values = append(all.values, row)
	}
	return all, rows.Err()
}

func (r *allRows) Next() bool { r.at++; return r.at < len(r.values) }
func (r *allRows) Err() error { return nil }
func (r *allRows) Close()     {}

func (r *allRows) Scan(to ...any) error {
	return pgx.ScanRow(r.types, r.fields, r.values[r.at], to...)
}

// The jobs are River's own rows, inserted by a real client and worked by the scheduler.

// live returns the jobs that are not over, by id.
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

// move changes a job's state, if it is from and its worker is not just completing it.
func (p *postgres) move(id int64, from, to string, due time.Time) error {
	_, err := p.scheduler.exec(`UPDATE river.river_job SET
		state = $3::text::river.river_job_state, scheduled_at = $4,
		finalized_at = CASE WHEN $3::text = 'completed' THEN now() END
		WHERE id = (SELECT id FROM river.river_job WHERE id = $1 FOR UPDATE SKIP LOCKED)
		AND (state = 'running') = ($2::text = 'running') AND finalized_at IS NULL`, []any{id, from, to, due})
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
	if len(p.idle) < transactionsAtOnce {
		return errors.New("a transaction of the history before is still open")
	}
	for _, c := range slices.Concat(p.idle, []*clocked{p.direct, p.scheduler}) {
		c.now = time.Time{}
	}
	if _, err := p.scheduler.exec("SELECT", nil); err != nil {
		return err
	}
	_, err := p.scheduler.Exec(context.Background(), empty)
	if p.histories++; err == nil && p.histories%vacuumEvery == 0 {
		_, err = p.scheduler.Exec(context.Background(), p.vacuum)
	}
	return err
}
