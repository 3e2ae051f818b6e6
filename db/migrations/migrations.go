// Package migrations embeds the schema and brings a database up to it: River's
// tables in the schema river, then ours in public, under one lock.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"dealbox/internal/jobs"
)

// files are our steps. They have no way back: there is no 'migrate down'.
//
//go:embed 0*.sql
var files embed.FS

//go:embed grants.sql
var grants string

const (
	// lockID is the session advisory lock that replicas and commands take before
	// they migrate. It only has to differ from other programs on the same database.
	lockID = 0x6465616c626f78 // "dealbox"

	// firstVersion is the lowest number of our steps. Before the first release they
	// were others, numbered 1 to 15, so a lower number than this in goose's table marks
	// a database of that time, at whichever step it stopped. goose itself writes 0.
	firstVersion = 101
)

var (
	// ErrBehind means that the database lacks steps that this program needs.
	ErrBehind = errors.New("the database schema is behind this program: run 'dealbox migrate up'")

	// ErrUnreleased means that a version of Dealbox from before the first release made
	// the database. Nothing upgrades it. The error's text ends with what to do.
	ErrUnreleased = errors.New("an unreleased version of Dealbox made this database, and it cannot be upgraded: " +
		"make a new database, or empty this one with 'DROP SCHEMA public, river CASCADE; CREATE SCHEMA public' " +
		"(where Dealbox has roles of its own, then run db/roles.sql again), and run 'dealbox migrate up'; " +
		"a reconciliation fills the mirror from Strapi, but the stored events and the alert history are lost")
)

// Migration is one step of either set.
type Migration struct {
	Set     string    `json:"set"` // "river" or "dealbox"
	Version int64     `json:"version"`
	Name    string    `json:"name"`
	Applied bool      `json:"applied"`
	At      time.Time `json:"applied_at,omitzero"`
}

// Up applies what is missing and returns it, then grants the roles of
// db/roles.sql, where there are any, what grants.sql says. It waits for another process that
// is migrating, so any number of them may call it at once. Each step is one
// transaction: a process that dies leaves whole steps, and the next call goes on.
// Up reports each step as soon as it is applied; report may be nil.
// It returns ErrUnreleased, and writes nothing, if the database is of before the first release,
// and ErrUnfit if something that can be known before the first step would make one fail.
func Up(ctx context.Context, pool *pgxpool.Pool, report func(Migration)) (applied []Migration, err error) {
	note := func(set string, version int64, name string) {
		m := Migration{Set: set, Version: version, Name: name, Applied: true}
		applied = append(applied, m)
		if report != nil {
			report(m)
		}
	}
	conn, err := lock(ctx, pool)
	if err != nil {
		return nil, err
	}
	// Closed, not returned to the pool: the lock and the setting go with the session.
	defer func() {
		_ = conn.Conn().Close(context.WithoutCancel(ctx))
		conn.Release()
	}()
	if err := checkBefore(ctx, pool); err != nil {
		return nil, err
	}
	if err := upRiver(ctx, pool, note); err != nil {
		return applied, err
	}
	if err := upOurs(ctx, pool, note); err != nil {
		return applied, err
	}
	if _, err := conn.Exec(ctx, grants); err != nil {
		return applied, fmt.Errorf("grant the roles what they may do: %w", err)
	}
	return applied, nil
}

// checkBefore returns why nothing can be migrated; nil when nothing is missing, too.
func checkBefore(ctx context.Context, pool *pgxpool.Pool) error {
	behind := Check(ctx, pool)
	if behind == nil || errors.Is(behind, ErrUnreleased) {
		return behind
	}
	if err := preflight(ctx, pool); err != nil {
		return err
	}
	if errors.Is(behind, ErrBehind) {
		return nil
	}
	return behind
}

// lock takes a connection that holds the migration lock. The lock belongs to the
// session, and dies with it.
func lock(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to migrate: %w", err)
	}
	// The pool's lock_timeout must not end the wait for another process that migrates.
	if _, err = conn.Exec(ctx, "SET lock_timeout = 0"); err != nil {
		err = fmt.Errorf("prepare to migrate: %w", err)
	} else if _, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockID)); err != nil {
		err = fmt.Errorf("wait for the migration lock: %w", err)
	}
	if err != nil {
		_ = conn.Conn().Close(context.WithoutCancel(ctx))
		conn.Release()
		return nil, err
	}
	return conn, nil
}

func upRiver(ctx context.Context, pool *pgxpool.Pool, note func(set string, version int64, name string)) error {
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+jobs.Schema); err != nil {
		return fmt.Errorf("make schema %s: %w", jobs.Schema, err)
	}
	river, err := riverMigrator(pool)
	if err != nil {
		return err
	}
	done, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate River's tables: %w", err)
	}
	for _, v := range done.Versions {
		note("river", int64(v.Version), v.Name)
	}
	return nil
}

func upOurs(ctx context.Context, pool *pgxpool.Pool, note func(set string, version int64, name string)) error {
	ours, closeDB, err := provider(pool)
	if err != nil {
		return err
	}
	defer closeDB()
	for {
		step, err := ours.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return stepError(err)
		}
		note("dealbox", step.Source.Version, step.Source.Path)
	}
}

// stepError names the file of the step that failed.
func stepError(err error) error {
	var step *goose.PartialError
	if errors.As(err, &step) {
		return fmt.Errorf("migrate: %s, which is undone: %w", step.Failed.Source.Path, step.Err)
	}
	return fmt.Errorf("migrate: %w", err)
}

// Check returns ErrBehind if a step is missing, and ErrUnreleased if the database is
// of before the first release. A database that is ahead is fine: migrations expand
// first and contract later.
func Check(ctx context.Context, pool *pgxpool.Pool) error {
	all, err := Status(ctx, pool)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.Applied {
			return fmt.Errorf("%w (first missing: %s %d %s)", ErrBehind, m.Set, m.Version, m.Name)
		}
	}
	return nil
}

// Status lists every step that this program knows and whether the database has it. It
// leaves out steps that only the database has, because a newer Dealbox made them.
// It writes nothing, and returns ErrUnreleased like Check.
func Status(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	exists, err := hasVersions(ctx, pool)
	if err != nil {
		return nil, err
	}
	all, err := riverStatus(ctx, pool)
	if err != nil {
		return nil, err
	}
	ours, closeDB, err := provider(pool)
	if err != nil {
		return nil, err
	}
	defer closeDB()
	if !exists { // goose would make its table
		for _, source := range ours.ListSources() {
			all = append(all, Migration{Set: "dealbox", Version: source.Version, Name: source.Path})
		}
		return all, nil
	}
	status, err := ours.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	for _, s := range status {
		all = append(all, Migration{
			Set: "dealbox", Version: s.Source.Version, Name: s.Source.Path,
			Applied: s.State == goose.StateApplied, At: s.AppliedAt,
		})
	}
	return all, nil
}

// hasVersions reports whether goose's table of applied steps exists. It returns
// ErrUnreleased if that table has a step of the old numbering.
func hasVersions(ctx context.Context, pool *pgxpool.Pool) (exists bool, err error) {
	err = pool.QueryRow(ctx, "SELECT to_regclass('public.goose_db_version') IS NOT NULL").Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("read migrations: %w", err)
	}
	if !exists {
		return false, nil
	}
	var old *int64
	err = pool.QueryRow(ctx, "SELECT max(version_id) FROM public.goose_db_version WHERE version_id > 0 AND version_id < $1",
		int64(firstVersion)).Scan(&old)
	if err != nil {
		return false, fmt.Errorf("read migrations: %w", err)
	}
	if old != nil {
		return false, fmt.Errorf("%w (it has step %d of the old numbering)", ErrUnreleased, *old)
	}
	return true, nil
}

func riverStatus(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	river, err := riverMigrator(pool)
	if err != nil {
		return nil, err
	}
	// A dry run and not ExistingVersions, which fails on a step that a newer River made.
	missing, err := river.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{DryRun: true})
	if err != nil {
		return nil, fmt.Errorf("read River's migrations: %w", err)
	}
	var all []Migration
	for _, v := range river.AllVersions() {
		lacks := slices.ContainsFunc(missing.Versions, func(m rivermigrate.MigrateVersion) bool { return m.Version == v.Version })
		all = append(all, Migration{Set: "river", Version: int64(v.Version), Name: v.Name, Applied: !lacks})
	}
	return all, nil
}

func riverMigrator(pool *pgxpool.Pool) (*rivermigrate.Migrator[pgx.Tx], error) {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Schema: jobs.Schema, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("load River's migrations: %w", err)
	}
	return m, nil
}

func provider(pool *pgxpool.Pool) (*goose.Provider, func(), error) {
	db := stdlib.OpenDBFromPool(pool)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		_ = db.Close()
		return nil, nil, fmt.Errorf("load migrations: %w", err)
	}
	return p, func() { _ = db.Close() }, nil
}
