package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// patience is how long Eventually waits: what is awaited comes in milliseconds, but
// tests share their machine. It speaks about nothing else.
const patience = 3 * time.Minute

// DB is a test's database with the steps that tests take there. Each of them fails
// the test at once when the database refuses. Embed it in a test's env.
type DB struct {
	T    testing.TB
	Pool *pgxpool.Pool
}

// Open returns a DB on a database of the test's own, migrated and empty; see Pool.
func Open(t testing.TB) DB {
	t.Helper()
	return OpenOn(t, URL(t))
}

// OpenOn returns a DB on a database that is there already.
func OpenOn(t testing.TB, url string) DB {
	t.Helper()
	return DB{T: t, Pool: PoolOn(t, url)}
}

// MustExec runs a statement.
func (db DB) MustExec(sql string, args ...any) {
	db.T.Helper()
	_, err := db.Pool.Exec(db.T.Context(), sql, args...)
	require.NoError(db.T, err, sql)
}

// MustText returns the one value of a query as text, "" for null.
func (db DB) MustText(sql string, args ...any) string {
	db.T.Helper()
	text := MustGet[*string](db, sql, args...)
	if text == nil {
		return ""
	}
	return *text
}

// MustGet returns the one value of a query.
func MustGet[V any](db DB, sql string, args ...any) (value V) {
	db.T.Helper()
	require.NoError(db.T, db.Pool.QueryRow(db.T.Context(), sql, args...).Scan(&value), sql)
	return value
}

// MustTexts returns the one column of a query.
func (db DB) MustTexts(sql string, args ...any) []string {
	db.T.Helper()
	rows, err := db.Pool.Query(db.T.Context(), sql, args...)
	require.NoError(db.T, err, sql)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(db.T, err, sql)
	return texts
}

// MustCommit runs do in a transaction and commits it.
func (db DB) MustCommit(do func(ctx context.Context, tx pgx.Tx) error) {
	db.T.Helper()
	ctx := db.T.Context()
	require.NoError(db.T, pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error { return do(ctx, tx) }))
}

// MustEventually waits until the query, a condition, is true.
func (db DB) MustEventually(condition string, args ...any) {
	db.T.Helper()
	require.Eventually(db.T, func() bool {
		var yes bool
		err := db.Pool.QueryRow(db.T.Context(), "SELECT coalesce(("+condition+"), false)", args...).Scan(&yes)
		return err == nil && yes
	}, patience, 5*time.Millisecond, condition)
}
