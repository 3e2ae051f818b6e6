package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	clonePrefix = "dealbox_test_"
	// staleAfter is when a clone counts as left behind by a run that died. No
	// test runs that long; one that does stays connected, and is left alone.
	staleAfter = time.Hour
)

// cluster is a Postgres server with a migrated template on it.
type cluster struct {
	base     *url.URL      // the maintenance database
	admin    *pgxpool.Pool // connected to it
	template string
	strategy string // of CREATE DATABASE
	prefix   string // of the clones' names
}

// openCluster connects to the maintenance database at rawURL, makes the
// template if this server does not have it yet, and sweeps old clones.
func openCluster(ctx context.Context, rawURL string) (*cluster, error) {
	base, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read the server's URL: %w", err)
	}
	config, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read the server's URL: %w", err)
	}
	config.MaxConns = 4
	admin, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool on the test server: %w", err)
	}
	c := &cluster{base: base, admin: admin, prefix: clonePrefix}
	if err := c.prepare(ctx); err != nil {
		admin.Close()
		return nil, fmt.Errorf("prepare the test server %s: %w", base.Redacted(), err)
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context) (err error) {
	if c.template, err = templateName(); err != nil {
		return err
	}
	// Copying the files takes half the time of writing them to the log, but
	// makes a checkpoint, which is cheap only where nothing is synced.
	err = c.admin.QueryRow(ctx,
		"SELECT CASE current_setting('fsync') WHEN 'off' THEN 'file_copy' ELSE 'wal_log' END").Scan(&c.strategy)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return c.makeTemplate(ctx)
}

func (c *cluster) close() { c.admin.Close() }

// url is the connection URL of one database of the server.
func (c *cluster) url(database string) string {
	u := *c.base
	u.Path = "/" + database
	return u.String()
}

// clone makes a database from a template and returns its name.
func (c *cluster) clone(ctx context.Context, template string) (string, error) {
	name := c.prefix + strconv.FormatInt(time.Now().Unix(), 36) + "_" + randomHex(4)
	if err := c.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY "+c.strategy); err != nil {
		return "", fmt.Errorf("clone the template database: %w", err)
	}
	return name, nil
}

// drop removes a clone with its roles, and cuts the connections that are left on it.
func (c *cluster) drop(ctx context.Context, name string) error {
	if err := c.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop test database %s: %w", name, err)
	}
	return c.dropRoles(ctx, name)
}

// sweep drops the clones of runs that died. Clones that are in use stay: the
// plain DROP refuses them. Another process may drop the same one at this moment.
func (c *cluster) sweep(ctx context.Context) error {
	names, err := c.databases(ctx, c.prefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !stale(strings.TrimPrefix(name, c.prefix), time.Now()) {
			continue
		}
		err := c.exec(ctx, "DROP DATABASE IF EXISTS "+name)
		if inUse(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sweep test database %s: %w", name, err)
		}
		if err := c.dropRoles(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// dropRoles removes what db/roles.sql made for a database that is gone, if anything.
func (c *cluster) dropRoles(ctx context.Context, database string) error {
	var roles string
	err := c.admin.QueryRow(ctx, "SELECT coalesce(string_agg(rolname, ', '), '') FROM pg_roles WHERE rolname = ANY ($1)",
		[]string{database + "_owner", database + "_app", database + "_auditor"}).Scan(&roles)
	if err == nil && roles != "" {
		err = c.exec(ctx, "DROP ROLE IF EXISTS "+roles)
	}
	if err != nil {
		return fmt.Errorf("drop the roles of test database %s: %w", database, err)
	}
	return nil
}

func (c *cluster) databases(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	err := c.admin.QueryRow(ctx,
		"SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database WHERE starts_with(datname::text, $1)", prefix).Scan(&names)
	if err != nil {
		return nil, fmt.Errorf("list databases %s…: %w", prefix, err)
	}
	return names, nil
}

func (c *cluster) exec(ctx context.Context, sql string) error {
	_, err := c.admin.Exec(ctx, sql)
	return err
}

// stale reads the birth time out of a clone's name, without its prefix.
func stale(name string, now time.Time) bool {
	born, _, _ := strings.Cut(name, "_")
	seconds, err := strconv.ParseInt(born, 36, 64)
	return err == nil && now.Sub(time.Unix(seconds, 0)) > staleAfter
}

// inUse reports whether a database could not be dropped because somebody is
// connected to it (object_in_use) or drops it right now (undefined_database,
// or the catalogue's row went away under us).
func inUse(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	return pg.Code == "55006" || pg.Code == "3D000" || pg.Code == "XX000"
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
