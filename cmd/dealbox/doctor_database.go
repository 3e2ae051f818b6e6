package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/health"
)

const (
	minPostgres = 150000 // server_version_num of 15.0
)

const (
	checkDatabase   = "database"
	checkMigrations = "migrations"
	checkPartitions = "partitions"
	checkClock      = "clock"
)

// database examines the database, and what can only be seen through it.
func (d doctor) database(ctx context.Context) []finding {
	if name, isWrong := d.wrong("DATABASE_URL"); isWrong {
		return withoutDatabase(skipped(checkDatabase, name+" is wrong"))
	}
	pool, err := openPool(ctx, d.config.Database.URL, commandPool)
	if err != nil {
		return withoutDatabase(failed(checkDatabase, err.Error(), "Check DATABASE_URL."))
	}
	defer pool.Close()
	found := examineServer(ctx, pool)
	if found.Verdict == verdictFail {
		return withoutDatabase(found)
	}
	return []finding{
		found, examineMigrations(ctx, pool), examineRoles(ctx, pool), examinePartitions(ctx, pool),
		examineRetention(ctx, pool, d.config.Retention.Events), examineClock(ctx, pool), examineWebhooks(ctx, pool),
	}
}

func withoutDatabase(first finding) []finding {
	findings := []finding{first}
	for _, check := range []string{checkMigrations, checkRoles, checkPartitions, checkRetention, checkClock, checkWebhooks} {
		findings = append(findings, skipped(check, "it needs the database"))
	}
	return findings
}

func examineServer(ctx context.Context, pool *pgxpool.Pool) finding {
	if err := pingOnce(ctx, pool); err != nil {
		return failed(checkDatabase, err.Error(), fixConnection(err))
	}
	var number int
	var version string
	err := pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &version)
	if err != nil {
		return failed(checkDatabase, err.Error(), "Check the database's log.")
	}
	if number < minPostgres {
		return failed(checkDatabase, "Postgres "+version, "Use Postgres 15 or later.")
	}
	_, roundTrip, err := health.MeasureClock(ctx, pool)
	if err != nil {
		return failed(checkDatabase, err.Error(), "Check the database's log.")
	}
	detail := fmt.Sprintf("Postgres %s, %s a round trip, %s", version, roundTrip.Round(10*time.Microsecond), databaseName(pool))
	if roundTrip > health.MaxRoundTrip {
		return warn(checkDatabase, detail, "Run Dealbox near its database: every webhook waits for some round trips.")
	}
	return ok(checkDatabase, detail)
}

// fixConnection says what to do by the SQLSTATE of a refused connection.
func fixConnection(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return "Check that Postgres runs and that this machine reaches the host and port of DATABASE_URL."
	}
	switch pg.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return "Check user and password of DATABASE_URL, and pg_hba.conf."
	case "3D000": // invalid_catalog_name
		return "Create the database, or correct its name in DATABASE_URL."
	case "53300": // too_many_connections
		return "Raise max_connections of Postgres, or lower DATABASE_MAX_CONNS."
	case "08P01": // protocol_violation: a pooler that takes no such start-up parameter
		return "Connect to Postgres itself or to a pooler in session mode that lets start-up parameters through."
	}
	return "Check the database's log."
}

func examineMigrations(ctx context.Context, pool *pgxpool.Pool) finding {
	err := migrations.Check(ctx, pool)
	switch {
	case errors.Is(err, migrations.ErrBehind):
		return failed(checkMigrations, err.Error(), "Run 'dealbox migrate up'.")
	case err != nil:
		return failed(checkMigrations, err.Error(), "Run 'dealbox migrate up' with a role that owns the tables (DATABASE_MIGRATE_URL).")
	}
	return ok(checkMigrations, "the schema is up to date")
}

func examinePartitions(ctx context.Context, pool *pgxpool.Pool) finding {
	var days *int
	err := pool.QueryRow(ctx, "SELECT inbox_partition_horizon() - (now() AT TIME ZONE 'UTC')::date").Scan(&days)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "42883": // undefined_function
		return skipped(checkPartitions, "the schema is behind")
	case err != nil:
		return failed(checkPartitions, err.Error(), "Check the role's privileges.")
	case days == nil:
		return failed(checkPartitions, "inbox_event has no partition for today: no webhook can be committed",
			"Start 'dealbox serve', which makes them, or run: SELECT inbox_make_partitions(14).")
	case *days < health.MinPartitionDays:
		return warn(checkPartitions, fmt.Sprintf("inbox_event has partitions for %d more days", *days),
			"Check that a 'dealbox serve' with workers runs: it makes them 14 days ahead.")
	}
	return ok(checkPartitions, fmt.Sprintf("inbox_event has partitions for %d more days", *days))
}

func examineClock(ctx context.Context, pool *pgxpool.Pool) finding {
	ahead, _, err := health.MeasureClock(ctx, pool)
	if err != nil {
		return failed(checkClock, err.Error(), "Check the database's log.")
	}
	return judgeClock(time.Duration(ahead))
}

func judgeClock(ahead time.Duration) finding {
	const fix = "Let both machines set their clocks by NTP."
	detail := fmt.Sprintf("this machine is %s ahead of the database", ahead.Round(time.Millisecond))
	if ahead < 0 {
		detail = fmt.Sprintf("this machine is %s behind the database", ahead.Abs().Round(time.Millisecond))
	}
	switch {
	case ahead.Abs() > health.MaxWorkerClockSkew:
		return failed(checkClock, detail+": workers do not start past "+health.MaxWorkerClockSkew.String(), fix)
	case ahead.Abs() > health.MaxClockSkew:
		return warn(checkClock, detail, fix)
	}
	return ok(checkClock, detail)
}
