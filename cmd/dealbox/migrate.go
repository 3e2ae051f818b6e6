package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/app"
)

// MigrateCmd is `dealbox migrate`.
type MigrateCmd struct {
	Up     MigrateUpCmd     `cmd:"" help:"Apply what is missing; any number of processes may do it at once. Needs DATABASE_URL."`
	Status MigrateStatusCmd `cmd:"" help:"List the steps and say whether the database has them. Needs DATABASE_URL."`
}

// Help is shown by `dealbox migrate --help`.
func (MigrateCmd) Help() string {
	return "Needs DATABASE_URL, or DATABASE_MIGRATE_URL when another role owns the tables; nothing else."
}

// MigrateUpCmd is `dealbox migrate up`.
type MigrateUpCmd struct{}

// Run applies River's and our steps under one lock.
func (c *MigrateUpCmd) Run(ctx context.Context, a *program) error {
	pool, err := a.migratePool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	fmt.Fprintln(a.stdout, "migrating", app.DatabaseName(pool))
	applied, err := migrations.Up(ctx, pool, func(m migrations.Migration) {
		fmt.Fprintf(a.stdout, "applied %s %d %s\n", m.Set, m.Version, m.Name)
	})
	if err != nil {
		return explainMigrate(err)
	}
	if len(applied) == 0 {
		fmt.Fprintln(a.stdout, "nothing to do: the schema is up to date")
		return nil
	}
	fmt.Fprintf(a.stdout, "done: %d steps applied, the schema is up to date\n", len(applied))
	return nil
}

// explainMigrate adds what to do where the error alone does not tell.
func explainMigrate(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case "55P03": // lock_not_available
		return fmt.Errorf("%w: another session holds a lock on the tables; nothing of this step was changed, run 'dealbox migrate up' again", err)
	case "42501": // insufficient_privilege
		return fmt.Errorf("%w: set DATABASE_MIGRATE_URL to a role that owns the tables", err)
	}
	return err
}

// MigrateStatusCmd is `dealbox migrate status`.
type MigrateStatusCmd struct {
	JSON bool `help:"Print JSON."`
}

// migrateStatus is what `migrate status --json` prints.
type migrateStatus struct {
	UpToDate   bool                   `json:"up_to_date"`
	Missing    int                    `json:"missing"`
	Migrations []migrations.Migration `json:"migrations"`
}

// Run lists the steps. Being behind is an answer, not a failure.
func (c *MigrateStatusCmd) Run(ctx context.Context, a *program) error {
	pool, err := a.migratePool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	all, err := migrations.Status(ctx, pool)
	if err != nil {
		return explainMigrate(err)
	}
	status := migrateStatus{Migrations: all}
	for _, m := range all {
		if !m.Applied {
			status.Missing++
		}
	}
	status.UpToDate = status.Missing == 0
	if c.JSON {
		return printJSON(a.stdout, status)
	}
	return printStatus(a.stdout, status)
}

func printStatus(w io.Writer, status migrateStatus) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SET\tVERSION\tNAME\tAPPLIED")
	for _, m := range status.Migrations {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", m.Set, m.Version, m.Name, appliedText(m))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	if status.UpToDate {
		fmt.Fprintln(w, "up to date")
		return nil
	}
	fmt.Fprintf(w, "behind by %d steps: run 'dealbox migrate up'\n", status.Missing)
	return nil
}

func appliedText(m migrations.Migration) string {
	switch {
	case !m.Applied:
		return "missing"
	case m.At.IsZero():
		return "yes"
	}
	return m.At.UTC().Format(time.RFC3339)
}

// migratePool opens the database to migrate and makes sure that it answers.
func (a *program) migratePool(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := app.LoadConfig(a.getenv, app.NeedMigrate)
	if err != nil {
		return nil, err
	}
	pool, err := app.OpenPool(ctx, config.Database.MigrateURL, app.MigratePool)
	if err != nil {
		return nil, err
	}
	if err := app.Ping(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	return pool, nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}
