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

//go:embed 0*.sql
var files embed.FS

//go:embed grants.sql
var grants string

// lockID is the session advisory lock that replicas and commands take before
// they migrate. It only has to differ from other programs on the same database.
const lockID = 0x6465616c626f78 // "dealbox"

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
// Each step is reported as soon as it is applied; report may be nil.
func Up(ctx context.Context, pool *pgxpool.Pool, report func(Migration)) (applied []Migration, err error) {
	note := func(set string, version int64, name string) {
		m := Migration{Set: set, Version: version, Name: name, Applied: true}
		applied = append(applied, m)
		if report != nil {
			report(m)
		}
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to migrate: %w", err)
	}
	defer conn.Release()
	// The lock belongs to the session, and dies with it. Waiting for another
	// process that migrates must not end by this pool's lock_timeout.
	if _, err := conn.Exec(ctx, "SET lock_timeout = 0"); err != nil {
		return nil, fmt.Errorf("prepare to migrate: %w", err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockID)); err != nil {
		return nil, fmt.Errorf("wait for the migration lock: %w", err)
	}
	defer func() {
		// Closed, not returned: the lock and the setting go with the session.
		_ = conn.Conn().Close(context.WithoutCancel(ctx))
	}()

	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+jobs.Schema); err != nil {
		return nil, fmt.Errorf("make schema %s: %w", jobs.Schema, err)
	}
	river, err := riverMigrator(pool)
	if err != nil {
		return nil, err
	}
	done, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return nil, fmt.Errorf("migrate River's tables: %w", err)
	}
	for _, v := range done.Versions {
		note("river", int64(v.Version), v.Name)
	}

	ours, closeDB, err := provider(pool)
	if err != nil {
		return applied, err
	}
	defer closeDB()
	for {
		step, err := ours.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			break
		}
		if err != nil {
			return applied, stepError(err)
		}
		note("dealbox", step.Source.Version, step.Source.Path)
	}
	if _, err := conn.Exec(ctx, grants); err != nil {
		return applied, fmt.Errorf("grant the roles what they may do: %w", err)
	}
	return applied, nil
}

// stepError names the file of the step that failed.
func stepError(err error) error {
	var step *goose.PartialError
	if errors.As(err, &step) {
		return fmt.Errorf("migrate: %s, which is undone: %w", step.Failed.Source.Path, step.Err)
	}
	return fmt.Errorf("migrate: %w", err)
}

// Status lists every known step and whether the database has it. Steps that
// only the database knows (a newer Dealbox made them) are not listed.
func Status(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	var all []Migration
	river, err := riverMigrator(pool)
	if err != nil {
		return nil, err
	}
	// A dry run and not ExistingVersions, which fails on a step that a newer River made.
	missing, err := river.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{DryRun: true})
	if err != nil {
		return nil, fmt.Errorf("read River's migrations: %w", err)
	}
	for _, v := range river.AllVersions() {
		lacks := slices.ContainsFunc(missing.Versions, func(m rivermigrate.MigrateVersion) bool { return m.Version == v.Version })
		all = append(all, Migration{Set: "river", Version: int64(v.Version), Name: v.Name, Applied: !lacks})
	}

	ours, closeDB, err := provider(pool)
	if err != nil {
		return nil, err
	}
	defer closeDB()
	// goose makes its table when it is missing; a look must not write.
	var exists bool
	if err := pool.QueryRow(ctx, "SELECT to_regclass('public.goose_db_version') IS NOT NULL").Scan(&exists); err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	if !exists {
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

// ErrBehind says that the database lacks steps that this program needs.
var ErrBehind = errors.New("the database schema is behind this program: run 'dealbox migrate up'")

// Check answers ErrBehind when a step is missing. A database that is ahead is
// fine: migrations expand first and contract later.
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
