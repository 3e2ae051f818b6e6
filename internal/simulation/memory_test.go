package simulation

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"dealbox/internal/mirror"
)

// memory is a database that knows the statements of the protocol by their names
// in db/queries, and nothing else. It has what the protocol relies on: atomic
// statements, read committed (repeatable read for the forecast), row locks until
// the end of the transaction, and unique keys. The same histories run over
// Postgres, so a statement that is told wrong here is noticed.
type memory struct {
	entities    table[mirror.Key, entity]
	deals       table[mirror.Key, deal]
	billings    table[mirror.Key, billing]
	changes     table[int64, change]
	events      table[string, event] // by day and dedup_key
	counters    table[int16, counter]
	scopes      table[string, scope]
	forecasts   table[int64, forecast]
	breakers    table[string, breaker]
	transitions table[int64, transition]
	alerts      table[int64, alert]
	alertEvents table[int64, alertEvent]
	members     table[memberKey, member]
	guards      table[string, guard]
	runs        table[int64, run]
	differences table[int64, difference]
	jobs        table[int64, jobRow]

	sequence int64
	locks    map[any]*memoryTx
	// replaced are statements that a mutant runs in place of the right ones.
	replaced map[string]statement
}

func newMemory() *memory {
	db := &memory{locks: map[any]*memoryTx{}, replaced: map[string]statement{}}
	db.scopes.seed("base", scope{})
	db.breakers.seed("strapi", breaker{Name: "strapi", State: "closed", FailureKeys: []string{}, ChangedAt: time.Now()})
	return db
}

// next is the value of the one sequence that all identities come from.
func (db *memory) next() int64 {
	db.sequence++
	return db.sequence
}

func (db *memory) begin(_ context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	tx := &memoryTx{db: db, writes: map[any]any{}}
	if options.IsoLevel == pgx.RepeatableRead {
		tx.deals, tx.billings = maps.Clone(db.deals.rows), maps.Clone(db.billings.rows)
	}
	return tx, nil
}

// memoryTx is a transaction: what it wrote lies over what is committed.
type memoryTx struct {
	pgx.Tx // what the protocol does not use is not there

	db     *memory
	writes map[any]any // by table: the map of its rows
	ends   []func()    // what commit does with them
	closed bool
	// The snapshot of a repeatable read.
	deals    map[mirror.Key]deal
	billings map[mirror.Key]billing
}

func (tx *memoryTx) Commit(context.Context) error {
	if tx.closed {
		return pgx.ErrTxClosed
	}
	for _, end := range tx.ends {
		end()
	}
	tx.close()
	return nil
}

func (tx *memoryTx) Rollback(context.Context) error {
	if tx.closed {
		return pgx.ErrTxClosed
	}
	tx.close()
	return nil
}

func (tx *memoryTx) close() {
	tx.closed = true
	for key, holder := range tx.db.locks {
		if holder == tx {
			delete(tx.db.locks, key)
		}
	}
}

// locked is the panic of a statement that meets another transaction's lock.
type locked struct{}

// lock takes a row lock until the transaction ends. Statements that write several
// rows lock all of them before they write one, so that they stay atomic.
func (tx *memoryTx) lock(key any) {
	if holder, ok := tx.db.locks[key]; ok && holder != tx {
		panic(locked{})
	}
	tx.db.locks[key] = tx
}

// errLocked is what Postgres answers at once with a lock_timeout that is over.
var errLocked = &pgconn.PgError{Code: "55P03", Message: "canceling statement due to lock timeout"}

func (tx *memoryTx) run(sql string, args []any) (r result, err error) {
	if tx.closed {
		return r, pgx.ErrTxClosed
	}
	name := statementName(sql)
	s, ok := tx.db.replaced[name]
	if !ok {
		s, ok = statements[name]
	}
	if !ok {
		return r, fmt.Errorf("the simulation's memory does not know the statement %q", name)
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(locked); !ok {
				panic(p)
			}
			err = errLocked
		}
	}()
	return s(tx, args), nil
}

func (tx *memoryTx) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	r, err := tx.run(sql, args)
	return pgconn.NewCommandTag(fmt.Sprintf("UPDATE %d", r.affected)), err
}

func (tx *memoryTx) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	r, err := tx.run(sql, args)
	return &memoryRows{rows: r.rows, at: -1}, err
}

func (tx *memoryTx) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	r, err := tx.run(sql, args)
	return memoryRow{r, err}
}

// statementName reads the comment that sqlc, and our own queries, begin with.
func statementName(sql string) string {
	_, rest, _ := strings.Cut(sql, "-- name: ")
	name, _, _ := strings.Cut(rest, " ")
	return name
}

type memoryRow struct {
	result
	err error
}

func (r memoryRow) Scan(to ...any) error {
	switch {
	case r.err != nil:
		return r.err
	case len(r.rows) == 0:
		return pgx.ErrNoRows
	}
	return scan(r.rows[0], to)
}

type memoryRows struct {
	pgx.Rows

	rows [][]any
	at   int
}

func (r *memoryRows) Next() bool           { r.at++; return r.at < len(r.rows) }
func (r *memoryRows) Scan(to ...any) error { return scan(r.rows[r.at], to) }
func (r *memoryRows) Err() error           { return nil }
func (r *memoryRows) Close()               {}

func scan(row, to []any) error {
	if len(row) != len(to) {
		return fmt.Errorf("the simulation's memory answers %d columns, %d are read", len(row), len(to))
	}
	for i, v := range row {
		switch dest := to[i].(type) {
		case pgtype.NumericScanner:
			d := v.(decimal.NullDecimal)
			n := pgtype.Numeric{Valid: d.Valid, Exp: d.Decimal.Exponent()}
			if d.Valid {
				n.Int = d.Decimal.Coefficient()
			}
			if err := dest.ScanNumeric(n); err != nil {
				return err
			}
		case pgtype.DateScanner:
			d := v.(*time.Time)
			date := pgtype.Date{Valid: d != nil}
			if d != nil {
				date.Time = *d
			}
			if err := dest.ScanDate(date); err != nil {
				return err
			}
		default:
			reflect.ValueOf(dest).Elem().Set(reflect.ValueOf(v))
		}
	}
	return nil
}

// result of a statement.
type result struct {
	rows     [][]any
	affected int64
}

// statement runs with the arguments in the order of the SQL's parameters.
type statement func(tx *memoryTx, args []any) result

// one, many and exec make statements of typed functions, as sqlc makes functions of statements.
func one[P, R any](run func(*memoryTx, P) (R, bool)) statement {
	return func(tx *memoryTx, args []any) (r result) {
		if v, ok := run(tx, params[P](args)); ok {
			r.rows = [][]any{columns(v)}
		}
		return r
	}
}

func many[P, R any](run func(*memoryTx, P) []R) statement {
	return func(tx *memoryTx, args []any) (r result) {
		for _, v := range run(tx, params[P](args)) {
			r.rows = append(r.rows, columns(v))
		}
		return r
	}
}

func exec[P any](run func(*memoryTx, P) int64) statement {
	return func(tx *memoryTx, args []any) result {
		return result{affected: run(tx, params[P](args))}
	}
}

// none is the parameter of statements that have none.
type none struct{}

func params[P any](args []any) (p P) {
	v := reflect.ValueOf(&p).Elem()
	if v.Kind() != reflect.Struct {
		v.Set(reflect.ValueOf(args[0]))
		return p
	}
	for i, a := range args {
		v.Field(i).Set(reflect.ValueOf(a))
	}
	return p
}

// columns are the fields of a row, those of embedded tables one by one.
func columns(row any) []any {
	v := reflect.ValueOf(row)
	if v.Kind() != reflect.Struct || isScalar(row) {
		return []any{row}
	}
	var all []any
	for i := range v.NumField() {
		all = append(all, columns(v.Field(i).Interface())...)
	}
	return all
}

func isScalar(v any) bool {
	switch v.(type) {
	case time.Time, uuid.UUID, decimal.Decimal, decimal.NullDecimal:
		return true
	}
	return false
}

// The statements outside transactions, each one of its own.

func (db *memory) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tx := db.auto()
	defer func() { _ = tx.Commit(ctx) }()
	return tx.Exec(ctx, sql, args...)
}

func (db *memory) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	tx := db.auto()
	defer func() { _ = tx.Commit(ctx) }()
	return tx.Query(ctx, sql, args...)
}

func (db *memory) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	tx := db.auto()
	defer func() { _ = tx.Commit(ctx) }()
	return tx.QueryRow(ctx, sql, args...)
}

func (db *memory) auto() *memoryTx { return &memoryTx{db: db, writes: map[any]any{}} }
