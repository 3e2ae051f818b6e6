package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"dealbox/db/migrations"
	"dealbox/internal/jobs"
)

const (
	templatePrefix = "dealbox_template_"
	buildingSuffix = "_building"
	// templateLock is the session advisory lock on the maintenance database
	// that processes take before they look for the template.
	templateLock = 0x706774657374 // "pgtest"
)

// makeTemplate makes the template unless the server has it. Many test
// processes come here at once: one makes it and the others wait. It is built
// under another name, so that a process that dies leaves no half-made template.
func (c *cluster) makeTemplate(ctx context.Context) error {
	conn, err := c.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return fmt.Errorf("wait for the template lock: %w", err)
	}
	// Closed, not returned: the lock goes with the session, whatever happened.
	defer func() { _ = conn.Conn().Close(context.WithoutCancel(ctx)) }()

	if err := c.sweep(ctx); err != nil {
		return err
	}
	names, err := c.databases(ctx, c.template)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == c.template {
			return nil
		}
	}
	return c.buildTemplate(ctx)
}

func (c *cluster) buildTemplate(ctx context.Context) error {
	building := c.template + buildingSuffix
	if err := c.drop(ctx, building); err != nil {
		return err
	}
	// template0, so that nothing that somebody put into template1 gets in.
	if err := c.exec(ctx, "CREATE DATABASE "+building+" TEMPLATE template0"); err != nil {
		return fmt.Errorf("make the template database: %w", err)
	}
	if err := c.migrate(ctx, building); err != nil {
		return err
	}
	for _, sql := range []string{
		"ALTER DATABASE " + building + " RENAME TO " + c.template,
		// Nobody may connect: a session on the template would make cloning fail.
		"ALTER DATABASE " + c.template + " ALLOW_CONNECTIONS false",
	} {
		if err := c.exec(ctx, sql); err != nil {
			return fmt.Errorf("finish the template database: %w", err)
		}
	}
	return nil
}

func (c *cluster) migrate(ctx context.Context, database string) error {
	pool, err := pgxpool.New(ctx, c.url(database))
	if err != nil {
		return fmt.Errorf("open a pool on the template database: %w", err)
	}
	defer pool.Close()
	if _, err := migrations.Up(ctx, pool, nil); err != nil {
		return fmt.Errorf("migrate the template database: %w", err)
	}
	return nil
}

// templateName holds a hash of everything that shapes the schema: our
// migrations and River's. Another schema, another template.
func templateName() (string, error) {
	h := sha256.New()
	if err := hashMigrations(h); err != nil {
		return "", err
	}
	river, err := rivermigrate.New(riverpgxv5.New(nil), &rivermigrate.Config{
		Schema: jobs.Schema, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", fmt.Errorf("load River's migrations: %w", err)
	}
	for _, m := range river.AllVersions() {
		fmt.Fprintln(h, m.Version, m.Name, m.SQLUp)
	}
	return templatePrefix + hex.EncodeToString(h.Sum(nil)[:6]), nil
}

// hashMigrations reads the files from the source tree: go test runs each test
// in its package's folder, somewhere below go.mod.
func hashMigrations(w io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "db", "migrations", "*.*"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no migrations in %s/db/migrations", root)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a migration: %w", err)
		}
		fmt.Fprintln(w, filepath.Base(file), len(text), string(text))
	}
	return nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the current folder: run the tests with go test, inside the source tree")
		}
		dir = parent
	}
}
