package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"dealbox/db/migrations"
	"dealbox/internal/app"
	"dealbox/internal/pgerr"
)

// MigrateCmd is `dealbox migrate`.
type MigrateCmd struct {
	Up     MigrateUpCmd     `cmd:"" help:"Apply what is missing; any number of processes may do it at once. Needs DATABASE_URL or DATABASE_MIGRATE_URL."`
	Status MigrateStatusCmd `cmd:"" help:"List the steps and whether the database has them. Needs DATABASE_URL or DATABASE_MIGRATE_URL."`
}

// Help is shown by `dealbox migrate --help`.
func (MigrateCmd) Help() string {
	return "Needs DATABASE_URL, or DATABASE_MIGRATE_URL when another role owns the tables; nothing else."
}

// MigrateUpCmd is `dealbox migrate up`.
type MigrateUpCmd struct{}

// Run applies River's and our steps under one lock.
func (c *MigrateUpCmd) Run(ctx context.Context, p *program) error {
	pool, err := app.OpenMigrations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer pool.Close()
	fmt.Fprintln(p.stdout, "migrating", app.DatabaseName(pool))
	applied, err := migrations.Up(ctx, pool, func(m migrations.Migration) {
		fmt.Fprintf(p.stdout, "applied %s %d %s\n", m.Set, m.Version, m.Name)
	})
	if err != nil {
		return explainMigrate(err)
	}
	if len(applied) == 0 {
		fmt.Fprintln(p.stdout, "nothing to do: the schema is up to date")
		return nil
	}
	fmt.Fprintf(p.stdout, "done: %s applied, the schema is up to date\n", plural(int64(len(applied)), "step", "steps"))
	return nil
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
func (c *MigrateStatusCmd) Run(ctx context.Context, p *program) error {
	pool, err := app.OpenMigrations(ctx, p.getenv)
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
	return p.print(c.JSON, status, func(w io.Writer) { printStatus(w, status) })
}

// explainMigrate adds what to do to an error that does not show it.
func explainMigrate(err error) error {
	switch pgerr.Code(err) {
	case "55P03": // lock_not_available
		return fmt.Errorf("%w: another session holds a lock on the tables; this step changed nothing, run 'dealbox migrate up' again", err)
	case "42501": // insufficient_privilege
		return fmt.Errorf("%w: set DATABASE_MIGRATE_URL to a role that owns the tables", err)
	}
	return err
}

func printStatus(w io.Writer, status migrateStatus) {
	fmt.Fprintln(w, "SET\tVERSION\tNAME\tAPPLIED")
	for _, m := range status.Migrations {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", m.Set, m.Version, m.Name, appliedText(m))
	}
	if status.UpToDate {
		fmt.Fprintln(w, "up to date")
		return
	}
	fmt.Fprintf(w, "behind by %s: run 'dealbox migrate up'\n", plural(int64(status.Missing), "step", "steps"))
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
