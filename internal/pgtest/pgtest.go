// Package pgtest gives each test its own Postgres database, already migrated.
//
// Databases are cloned from a template that is made once a server, so a test
// starts in some tens of milliseconds and sees nothing of the others. The server is
// the first of these that is there: TEST_DATABASE_URL, a container
// (testcontainers), local Postgres binaries.
//
// Only tests import this package. Each test package that uses it needs
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"dealbox/internal/pgtime"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// maxConns bounds the pool of one test. River's worker holds one of them to
	// listen. Tests of a package run in parallel, so this must stay far below
	// the server's max_connections (300 and more).
	maxConns = 10
	// cleanupTimeout bounds each step after a test: its context has ended by then.
	cleanupTimeout = 2 * time.Minute
)

// Main runs the tests of a package and then stops what they started: call it
// from TestMain. It does not return.
func Main(m *testing.M) {
	ready.Store(true)
	code := m.Run()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Pool opens a pool of 10 connections on a new, migrated database. When the
// test ends the pool is closed and the database dropped; a connection that the
// test did not release fails it.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return PoolOn(t, URL(t))
}

// PoolOn opens such a pool on a database that is there already.
func PoolOn(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	config.MaxConns = maxConns
	config.AfterConnect = pgtime.UseUTC
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatalf("pgtest: open a pool: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// URL is the connection URL of a new, migrated database that is dropped when
// the test ends, whoever is still connected to it.
func URL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, func(c *cluster) string { return c.template })
}

// EmptyURL is the connection URL of a new database without any table, for tests
// of the migrations themselves. It is dropped when the test ends.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, func(*cluster) string { return "template0" })
}

func newDatabase(t testing.TB, template func(*cluster) string) string {
	t.Helper()
	ctx := t.Context()
	s, err := shared.get()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	name, err := s.clone(ctx, template(s))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return s.url(name)
}

// closePool closes the pool. Close waits for every connection, so one that the
// test leaked would hang the whole package: after a while the test fails instead.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(cleanupTimeout):
		t.Errorf("pgtest: %d connection(s) still in use after the test: release them, or stop what uses them",
			pool.Stat().AcquiredConns())
	}
}
