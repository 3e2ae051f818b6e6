package simulation

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"dealbox/internal/dbsqlc"
)

// backend is what is behind the gate.
type backend interface {
	dbsqlc.DBTX
	begin(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// gate is the database that the workers are given: each statement and COMMIT
// stops for a verdict of the scheduler.
type gate struct {
	*scheduler

	db backend
	// oneByOne lets no other goroutine run while a transaction is open.
	oneByOne bool
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

// statement runs after a verdict, and again each time that a lock it waits for
// may be free.
func (g *gate) statement(ctx context.Context, tx *gateTx, sql string, run func() error) error {
	name := statementName(sql)
	switch {
	case strings.HasPrefix(name, "PG"):
		return run() // River tells its listeners, and asks what database it has
	case strings.HasPrefix(name, "JobInsert"):
		name = "JobInsert" // River's own statement has another name
	}
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
			if err = run(); errors.Is(err, errLocked) {
				p = &stop{who: g.receiver, where: p.where, tx: tx, waitsSince: g.ends + 1}
				continue
			}
		}
		if err != nil && tx != nil && !errors.Is(err, pgx.ErrNoRows) {
			tx.lose()
		}
		return err
	}
}

func (g *gate) Exec(ctx context.Context, sql string, args ...any) (tag pgconn.CommandTag, err error) {
	err = g.statement(ctx, nil, sql, func() error {
		tag, err = g.db.Exec(context.Background(), sql, args...)
		g.commits++
		return err
	})
	return tag, err
}

func (g *gate) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	err = g.statement(ctx, nil, sql, func() error {
		rows, err = g.db.Query(context.Background(), sql, args...)
		g.commits++
		return err
	})
	return rows, err
}

func (g *gate) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	var row pgx.Row
	err := g.statement(ctx, nil, sql, func() error {
		row = g.db.QueryRow(context.Background(), sql, args...)
		g.commits++
		return rowError(row)
	})
	if err != nil {
		return failedRow{err}
	}
	return row
}

// rowError is what a row of the memory knows before it is scanned.
func rowError(row pgx.Row) error {
	if r, ok := row.(memoryRow); ok {
		return r.err
	}
	return nil
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

func (g *gate) Begin(ctx context.Context) (pgx.Tx, error) { return g.BeginTx(ctx, pgx.TxOptions{}) }

func (g *gate) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	v := g.stop(ctx, &stop{who: g.receiver, where: "BEGIN"})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case v == fail:
		return nil, errConnection
	}
	inner, err := g.db.begin(context.Background(), options)
	if err != nil {
		return nil, err
	}
	tx := &gateTx{Tx: inner, gate: g}
	if g.oneByOne {
		g.turn = tx
	}
	return tx, nil
}

// gateTx is a transaction behind the gate.
type gateTx struct {
	pgx.Tx

	gate   *gate
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
	if tx.gate.turn == tx {
		tx.gate.turn = nil
	}
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
	err = tx.gate.statement(ctx, tx, sql, func() error {
		tag, err = tx.Tx.Exec(context.Background(), sql, args...)
		return err
	})
	return tag, err
}

func (tx *gateTx) Query(ctx context.Context, sql string, args ...any) (rows pgx.Rows, err error) {
	if err := tx.state(); err != nil {
		return nil, err
	}
	if statementName(sql) == "InboxEventInsert" {
		args[len(args)-1] = tx.gate.slot
	}
	err = tx.gate.statement(ctx, tx, sql, func() error {
		rows, err = tx.Tx.Query(context.Background(), sql, args...)
		return err
	})
	return rows, err
}

func (tx *gateTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := tx.state(); err != nil {
		return failedRow{err}
	}
	var row pgx.Row
	err := tx.gate.statement(ctx, tx, sql, func() error {
		row = tx.Tx.QueryRow(context.Background(), sql, args...)
		return rowError(row)
	})
	if err != nil {
		return failedRow{err}
	}
	return row
}

// CopyFrom is how River inserts many jobs.
func (tx *gateTx) CopyFrom(ctx context.Context, into pgx.Identifier, columns []string, from pgx.CopyFromSource) (n int64, err error) {
	if err := tx.state(); err != nil {
		return 0, err
	}
	err = tx.gate.statement(ctx, tx, "-- name: JobInsert :copyfrom", func() error {
		n, err = tx.Tx.CopyFrom(context.Background(), into, columns, from)
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
	tx.gate.commits++
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
