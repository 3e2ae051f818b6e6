package simulation

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"dealbox/internal/dbsqlc"
)

// executor runs statements: a transaction, or the database without one.
type executor interface {
	dbsqlc.DBTX
	CopyFrom(ctx context.Context, into pgx.Identifier, columns []string, from pgx.CopyFromSource) (int64, error)
}

// gate is the database of the workers: each statement and COMMIT stops until the
// scheduler resumes it.
type gate struct {
	*scheduler

	db     *postgres
	mutant *mutant
	// receiver names who has no name: the writer of the replica's group commit,
	// which has a context of its own.
	receiver string
	// slot of the receiver's counters, in place of one by chance: two receivers with
	// the same one wait for each other.
	slot int16
}

var (
	errConnection = errors.New("the simulation cut the connection to the database")
	errDeadlock   = &pgconn.PgError{Code: "40P01", Message: "deadlock detected"}
)

// statement runs when the scheduler resumes it, and again each time that a lock it
// waits for may be free: so transactions overlap, and wait for real locks. It runs
// in tx, unless a mutant has it run outside.
func (g *gate) statement(ctx context.Context, tx *gateTx, sql string, run func(db executor, sql string) error) error {
	name := statementName(sql)
	var db executor = g.db
	if tx != nil && g.mutant.outside != name {
		db = tx.Tx
	}
	switch {
	case name == "PGNotifyMany":
		return nil // River notifies its listeners; nobody listens
	case strings.HasPrefix(name, "PG"):
		return run(db, sql) // River reads which database it has
	}
	sql = g.mutant.rewrite(name, sql)
	p := &stop{who: g.receiver, where: name, tx: tx}
	for {
		v := g.stop(ctx, p)
		err := ctx.Err()
		switch {
		case err != nil:
		case v == fail:
			err = errConnection
		case v == victim:
			err = errDeadlock
		default:
			if err = run(db, sql); isLocked(err) {
				p = &stop{who: g.receiver, where: p.where, tx: tx, waitsSince: g.ends + 1}
				continue
			}
			if err == nil {
				g.noteStatement(p.who, name)
			}
			switch {
			case err != nil:
			case tx != nil && db != executor(g.db):
				tx.wrote = append(tx.wrote, writes(sql)...)
			default:
				g.wrote(writes(sql))
			}
		}
		if err != nil {
			g.spare(p.who)
			if tx != nil {
				tx.lose()
			}
		}
		return err
	}
}

// wrote counts a commit that may have changed the tables.
func (g *gate) wrote(tables []string) {
	if len(tables) == 0 {
		return
	}
	g.commits++
	for _, t := range tables {
		g.written[t] = g.commits
	}
}

var (
	writing = regexp.MustCompile(`(?i)\b(?:INTO|UPDATE|DELETE FROM)\s+(?:river\.)?(\w+)|\bFOR (?:NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)\b`)
	// tables has what writes returned, by the SQL.
	tables sync.Map
)

// writes returns the tables that a statement writes, "" among them if it locks rows.
func writes(sql string) []string {
	if known, ok := tables.Load(sql); ok {
		return known.([]string)
	}
	found := []string{}
	if statementName(sql) == "JobInsert" {
		found = append(found, "river_job") // River's SQL is quoted in its own way
	}
	for _, m := range writing.FindAllStringSubmatch(sql, -1) {
		found = append(found, m[1])
	}
	tables.Store(sql, found)
	return found
}

// statementName is the name in the comment that sqlc's and our own queries begin
// with. River inserts by several statements, which all count as JobInsert.
func statementName(sql string) string {
	_, name, _ := strings.Cut(sql, "-- name: ")
	name, _, _ = strings.Cut(name, " ")
	if strings.HasPrefix(name, "JobInsert") {
		return "JobInsert"
	}
	return name
}

func (g *gate) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	return g.exec(ctx, nil, sql, args)
}

func (g *gate) exec(ctx context.Context, tx *gateTx, sql string, args []any) (tag pgconn.CommandTag, err error) {
	err = g.statement(ctx, tx, sql, func(db executor, sql string) (err error) {
		tag, err = db.Exec(context.Background(), sql, args...)
		return err
	})
	return tag, err
}

func (g *gate) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	return g.query(ctx, nil, sql, args)
}

func (g *gate) query(ctx context.Context, tx *gateTx, sql string, args []any) (rows pgx.Rows, err error) {
	err = g.statement(ctx, tx, sql, func(db executor, sql string) (err error) {
		rows, err = db.Query(context.Background(), sql, args...)
		return err
	})
	return rows, err
}

func (g *gate) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return g.queryRow(ctx, nil, sql, args)
}

func (g *gate) queryRow(ctx context.Context, tx *gateTx, sql string, args []any) pgx.Row {
	return firstOf(g.query(ctx, tx, sql, args))
}

func firstOf(rows pgx.Rows, err error) pgx.Row {
	if err != nil {
		return failedRow{err}
	}
	return firstRow{rows}
}

// firstRow is the only row that a statement returned, or none.
type firstRow struct{ pgx.Rows }

func (r firstRow) Scan(to ...any) error {
	if !r.Next() {
		return pgx.ErrNoRows
	}
	return r.Rows.Scan(to...)
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

func (g *gate) Begin(ctx context.Context) (pgx.Tx, error) { return g.BeginTx(ctx, pgx.TxOptions{}) }

func (g *gate) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	var inner *postgresTx
	err := g.statement(ctx, nil, "-- name: BEGIN ", func(executor, string) (err error) {
		inner, err = g.db.begin(options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &gateTx{Tx: inner, gate: g}, nil
}

// gateTx is a transaction behind the gate.
type gateTx struct {
	pgx.Tx

	gate   *gate
	wrote  []string // tables
	closed bool
	lost   bool
}

// lose ends the transaction as a lost connection does.
func (tx *gateTx) lose() {
	if !tx.closed {
		tx.lost = true
		tx.close()
		_ = tx.Tx.Rollback(context.Background())
	}
}

func (tx *gateTx) close() {
	tx.closed = true
	tx.gate.ends++
}

// state is the error of a statement in a transaction that is over.
func (tx *gateTx) state() error {
	switch {
	case tx.lost:
		return errConnection
	case tx.closed:
		return pgx.ErrTxClosed
	}
	return nil
}

func (tx *gateTx) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	if err := tx.state(); err != nil {
		return tag, err
	}
	return tx.gate.exec(ctx, tx, sql, args)
}

func (tx *gateTx) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	if err := tx.state(); err != nil {
		return nil, err
	}
	if statementName(sql) == "InboxEventInsert" {
		args[len(args)-1] = tx.gate.slot
	}
	return tx.gate.query(ctx, tx, sql, args)
}

func (tx *gateTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := tx.state(); err != nil {
		return failedRow{err}
	}
	return tx.gate.queryRow(ctx, tx, sql, args)
}

// CopyFrom is how River inserts many jobs.
func (tx *gateTx) CopyFrom(ctx context.Context, into pgx.Identifier, columns []string, from pgx.CopyFromSource) (n int64, err error) {
	if err := tx.state(); err != nil {
		return 0, err
	}
	err = tx.gate.statement(ctx, tx, "-- name: JobInsert ", func(db executor, _ string) (err error) {
		n, err = db.CopyFrom(context.Background(), into, columns, from)
		return err
	})
	return n, err
}

func (tx *gateTx) Commit(ctx context.Context) error {
	if err := tx.state(); err != nil {
		return err
	}
	v := tx.gate.stop(ctx, &stop{who: tx.gate.receiver, where: "COMMIT", point: commitPoint, tx: tx})
	if ctx.Err() != nil || v == fail {
		tx.lose()
		return errors.Join(ctx.Err(), errConnection)
	}
	tx.close()
	tx.gate.wrote(tx.wrote)
	tx.gate.noteCommit(tx.wrote)
	if err := tx.Tx.Commit(context.Background()); err != nil {
		return err
	}
	if v == ambiguous {
		return errConnection
	}
	tx.gate.stop(ctx, &stop{who: tx.gate.receiver, where: "committed", point: committedPoint})
	return nil
}

// Rollback does not stop: after a crash nobody would resume it.
func (tx *gateTx) Rollback(context.Context) error {
	if tx.closed {
		return pgx.ErrTxClosed
	}
	tx.close()
	return tx.Tx.Rollback(context.Background())
}
