package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// minConns of DATABASE_MAX_CONNS: 2 for ingest, 1 to read with, 1 on which River
	// listens, 1 to work with.
	minConns = 5

	// Strapi waits 10 s for an answer and Dealbox promises one within 8: a
	// connection that cannot be made must fail long before that.
	connectTimeout = 3 * time.Second
	// pingTimeout is for connections that were idle: a half-open one must not
	// eat the time of the request that gets it.
	pingTimeout = 2 * time.Second

	healthCheckPeriod = 15 * time.Second
)

// poolOptions differ by what a pool is for.
type poolOptions struct {
	MaxConns         int
	StatementTimeout time.Duration // 0 is none
	LockTimeout      time.Duration
}

// poolShares splits DATABASE_MAX_CONNS into three pools. Ingest keeps its own
// connections, so that workers and readers never make a webhook wait. Readers
// have theirs, so that health and alerts answer while the workers are busy.
func poolShares(maxConns int) (ingest, work, reads poolOptions) {
	share, readers := max(2, maxConns/3), 1
	if maxConns >= 8 {
		readers = 2
	}
	// An ingest statement that takes longer could not be answered in 8 s anyway.
	ingest = poolOptions{MaxConns: share, StatementTimeout: 6 * time.Second, LockTimeout: 2 * time.Second}
	work = poolOptions{MaxConns: maxConns - share - readers, StatementTimeout: 30 * time.Second, LockTimeout: 2 * time.Second}
	reads = poolOptions{MaxConns: readers, StatementTimeout: 10 * time.Second, LockTimeout: 2 * time.Second}
	return ingest, work, reads
}

// migratePool is for migrations: a step may run long, but it must not queue
// everybody behind a lock that it does not get.
var migratePool = poolOptions{MaxConns: 4, LockTimeout: 5 * time.Second}

// commandPool is for commands that look at the database.
var commandPool = poolOptions{MaxConns: 4, StatementTimeout: 5 * time.Second, LockTimeout: 2 * time.Second}

// openPool makes a pool. It does not connect: a database that is away shows
// at the first query, and is used as soon as it is back. Errors never hold the URL.
func openPool(ctx context.Context, url secret, o poolOptions) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url.reveal())
	if err != nil {
		// pgx's text may hold the password.
		return nil, errors.New("open the database pool: its URL cannot be read")
	}
	config.MaxConns = int32(o.MaxConns)
	config.MinConns = 0
	config.HealthCheckPeriod = healthCheckPeriod
	config.PingTimeout = pingTimeout
	config.ConnConfig.ConnectTimeout = connectTimeout
	setSession(config.ConnConfig.RuntimeParams, o)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database pool: %w", err)
	}
	return pool, nil
}

// setSession sets what every session of Dealbox needs, whatever the URL or the
// role says. Only the application's name may come from the URL.
func setSession(params map[string]string, o poolOptions) {
	if params["application_name"] == "" {
		params["application_name"] = "dealbox"
	}
	params["timezone"] = "UTC"
	// A 2xx means committed: on disk, and on a synchronous replica where there is one.
	params["synchronous_commit"] = "on"
	params["statement_timeout"] = milliseconds(o.StatementTimeout)
	// Both bound what one stuck transaction can do to the rest.
	params["lock_timeout"] = milliseconds(o.LockTimeout)
	params["idle_in_transaction_session_timeout"] = milliseconds(5 * time.Second)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

const (
	waitEvery  = time.Second
	waitRemind = 30 * time.Second
)

// pinger is what waitForDatabase needs of *pgxpool.Pool.
type pinger interface {
	Ping(ctx context.Context) error
}

// waitForDatabase returns when the database answers, or with ctx's error. It
// says what it waits for at once and then every 30 s.
//
// Failure policy: it waits whatever the error is. A wrong password or a
// database that does not exist yet may be put right while Dealbox runs, and
// /readyz says 503 until then.
func waitForDatabase(ctx context.Context, db pinger, logger *slog.Logger) error {
	start, reminded := time.Now(), time.Time{}
	for {
		err := pingOnce(ctx, db)
		if err == nil {
			if !reminded.IsZero() {
				logger.InfoContext(ctx, "the database answers", "waited", time.Since(start).Round(time.Millisecond))
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the database: %w", ctx.Err())
		}
		if reminded.IsZero() || time.Since(reminded) >= waitRemind {
			reminded = time.Now()
			logger.WarnContext(ctx, "waiting for the database: check that it runs and that DATABASE_URL names it", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(waitEvery):
		}
	}
}

func pingOnce(ctx context.Context, db pinger) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout+pingTimeout)
	defer cancel()
	return db.Ping(ctx) //nolint:wrapcheck // logged by the only caller
}
