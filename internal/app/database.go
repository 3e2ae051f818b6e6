package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/pgerr"
	"dealbox/internal/pgtime"
)

const (
	// minConns of DATABASE_MAX_CONNS: 2 for ingest, 1 for reads, 1 on which River
	// listens, 1 for workers.
	minConns = 5

	// connectTimeout: Strapi waits 10 s for an answer and Dealbox promises one within
	// 8 s, so a connection that cannot be made must fail long before that.
	connectTimeout = 3 * time.Second
	// pingTimeout is for connections that were idle: a half-open one must not
	// eat the time of the request that gets it.
	pingTimeout = 2 * time.Second

	healthCheckPeriod = 15 * time.Second
)

// PoolOptions differ by what a pool is for.
type PoolOptions struct {
	MaxConns         int
	StatementTimeout time.Duration // 0 is none
	LockTimeout      time.Duration
}

// poolShares splits DATABASE_MAX_CONNS into three pools. Ingest keeps its own
// connections, so that workers and readers never make a webhook wait. Readers
// have theirs, so that health and alerts can be read while the workers are busy.
func poolShares(maxConns int) (ingest, work, reads PoolOptions) {
	share, readers := max(2, maxConns/3), 1
	if maxConns >= 8 {
		readers = 2
	}
	// A webhook whose statement takes longer could not be answered within 8 s anyway.
	ingest = PoolOptions{MaxConns: share, StatementTimeout: 6 * time.Second, LockTimeout: 2 * time.Second}
	work = PoolOptions{MaxConns: maxConns - share - readers, StatementTimeout: 30 * time.Second, LockTimeout: 2 * time.Second}
	reads = PoolOptions{MaxConns: readers, StatementTimeout: 10 * time.Second, LockTimeout: 2 * time.Second}
	return ingest, work, reads
}

// MigratePool is for migrations: a step may run long, but while it waits for a lock
// every other session queues behind it.
var MigratePool = PoolOptions{MaxConns: 4, LockTimeout: 5 * time.Second}

// CommandPool is for an operator's commands.
var CommandPool = PoolOptions{MaxConns: 4, StatementTimeout: 5 * time.Second, LockTimeout: 2 * time.Second}

// OpenMigrations connects to the database to migrate, as the owner's role.
func OpenMigrations(ctx context.Context, getenv func(string) string) (*pgxpool.Pool, error) {
	config, err := LoadConfig(getenv, NeedMigrate)
	if err != nil {
		return nil, err
	}
	return Connect(ctx, config.Database.MigrateURL, MigratePool)
}

// Connect opens a pool for a command and makes sure that the database can be reached.
func Connect(ctx context.Context, url Secret, o PoolOptions) (*pgxpool.Pool, error) {
	pool, err := OpenPool(ctx, url, o)
	if err != nil {
		return nil, err
	}
	if err := Ping(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	return pool, nil
}

// OpenPool makes a pool. It does not connect: a database that is away fails
// the first query, and the pool uses it as soon as it is back. Errors never hold the URL.
func OpenPool(ctx context.Context, url Secret, o PoolOptions) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url.Reveal())
	if err != nil {
		// pgx's text may hold the password.
		return nil, errors.New("open the database pool: its URL cannot be read")
	}
	config.MaxConns = int32(o.MaxConns)
	config.MinConns = 0
	config.HealthCheckPeriod = healthCheckPeriod
	config.PingTimeout = pingTimeout
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.AfterConnect = pgtime.UseUTC
	config.ConnConfig.OnPgError = closeReadOnly(config.ConnConfig.OnPgError)
	if !strings.Contains(url.Reveal(), "target_session_attrs") && Getenv("PGTARGETSESSIONATTRS") == "" {
		// Several hosts in the URL: the one that takes writes. One host: a standby is refused.
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	setSession(config.ConnConfig.RuntimeParams, o)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database pool: %w", err)
	}
	return pool, nil
}

// closeReadOnly closes a session that answers "read-only": after a failover the server
// behind it may be a standby for as long as it lasts, while the next connection finds
// the primary.
func closeReadOnly(next pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return next(conn, err) && !pgerr.IsReadOnly(err)
	}
}

// setSession sets what every session of Dealbox needs, whatever the URL, the role or
// the database says (ALTER ROLE … SET, ALTER DATABASE … SET). Only the application's
// name may come from the URL. The variable role is left alone: it is a way to grant.
func setSession(params map[string]string, o PoolOptions) {
	if params["application_name"] == "" {
		params["application_name"] = "dealbox"
	}
	// Without it a schema with the role's name comes before public.
	params["search_path"] = "public"
	// The sync protocol counts on it: a statement sees what was committed before it began.
	params["default_transaction_isolation"] = "read committed"
	params["default_transaction_deferrable"] = "off"
	// A server that is really read-only stays so; see closeReadOnly and health.Commits.
	params["default_transaction_read_only"] = "off"
	// A 2xx means committed: on disk, and on a synchronous replica where there is one.
	params["synchronous_commit"] = "on"
	// How values look that travel as text.
	params["client_encoding"] = "UTF8"
	params["timezone"] = "UTC"
	params["datestyle"] = "ISO, MDY"
	params["intervalstyle"] = "postgres"
	params["bytea_output"] = "hex"
	params["extra_float_digits"] = "1"
	params["standard_conforming_strings"] = "on"
	params["row_security"] = "on"
	params["statement_timeout"] = milliseconds(o.StatementTimeout)
	// Both bound how long one stuck transaction can block others.
	params["lock_timeout"] = milliseconds(o.LockTimeout)
	params["idle_in_transaction_session_timeout"] = milliseconds(5 * time.Second)
	params["idle_session_timeout"] = "0" // River listens on one for hours
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// DatabaseName returns database, host, port and user, without the password.
func DatabaseName(pool *pgxpool.Pool) string {
	c := pool.Config().ConnConfig
	return fmt.Sprintf("database %s on %s:%d as %s", c.Database, c.Host, c.Port, c.User)
}

const (
	waitEvery  = time.Second
	waitRemind = 30 * time.Second
)

// pinger is what waitForDatabase needs of *pgxpool.Pool.
type pinger interface {
	Ping(ctx context.Context) error
}

// waitForDatabase returns when the database can be reached, or with ctx's error. It
// logs what it waits for at once and then every 30 s.
//
// Failure policy: it waits whatever the error is. An operator may correct a password or
// create the database while Dealbox runs, and /readyz is 503 until then.
func waitForDatabase(ctx context.Context, db pinger, logger *slog.Logger) error {
	start, reminded := time.Now(), time.Time{}
	for {
		err := Ping(ctx, db)
		if err == nil {
			if !reminded.IsZero() {
				logger.InfoContext(ctx, "the database can be reached", "waited", time.Since(start).Round(time.Millisecond))
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the database: %w", ctx.Err())
		}
		if reminded.IsZero() || time.Since(reminded) >= waitRemind {
			reminded = time.Now()
			logger.WarnContext(ctx, "waiting for the database, and /readyz is 503 until then: check that it runs and that DATABASE_URL names it", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(waitEvery):
		}
	}
}

// Ping connects to the database, within 5 s.
func Ping(ctx context.Context, db pinger) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+pingTimeout)
	defer cancel()
	return db.Ping(ctx) //nolint:wrapcheck // logged by the only caller
}
