package doctor

import (
	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"

	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/app"
	"dealbox/internal/pgerr"
	"dealbox/internal/text"
)

const (
	minPostgres = 150000 // server_version_num of 15.0
)

const (
	checkDatabase   = "database"
	checkMigrations = "migrations"
	checkPartitions = "partitions"
	checkWebhooks   = "webhooks"
)

// database examines the database, and what only its tables show.
func (d doctor) database(ctx context.Context) []Finding {
	if name, isWrong := d.wrong("DATABASE_URL"); isWrong {
		return withoutDatabase(skipped(checkDatabase, "it needs a correct "+name+", see above"))
	}
	pool, err := app.OpenPool(ctx, d.config.Database.URL, app.CommandPool)
	if err != nil {
		return withoutDatabase(failed(checkDatabase, err.Error(), "Check DATABASE_URL."))
	}
	defer pool.Close()
	found := examineServer(ctx, pool)
	if found.Status == Fail {
		return withoutDatabase(found)
	}
	findings := []Finding{
		found, examineMigrations(ctx, pool), examineRoles(ctx, pool), examinePartitions(ctx, pool),
		examineRetention(ctx, pool, d.config.Retention.Events), examineClock(ctx, pool), d.examineWebhooks(ctx, pool),
	}
	return append(findings, d.examineHealth(ctx, pool)...)
}

func withoutDatabase(first Finding) []Finding {
	findings := []Finding{first}
	for _, check := range []string{checkMigrations, checkRoles, checkPartitions, checkRetention, checkClock, checkWebhooks, checkHealth} {
		findings = append(findings, skipped(check, "it needs the database"))
	}
	return findings
}

func examineServer(ctx context.Context, pool *pgxpool.Pool) Finding {
	if err := app.Ping(ctx, pool); err != nil {
		return failed(checkDatabase, err.Error(), fixConnection(err))
	}
	server, err := dbsqlc.New().DoctorServer(ctx, pool)
	if err != nil {
		return failed(checkDatabase, err.Error(), "Check the database's log.")
	}
	if server.Number < minPostgres {
		return failed(checkDatabase, "Postgres "+server.Version, "Use Postgres 15 or later.")
	}
	_, roundTrip, err := health.MeasureClock(ctx, pool)
	if err != nil {
		return failed(checkDatabase, err.Error(), "Check the database's log.")
	}
	detail := fmt.Sprintf("Postgres %s, %s a round trip, %s", server.Version, roundTrip.Round(10*time.Microsecond), app.DatabaseName(pool))
	if roundTrip > health.MaxRoundTrip {
		return warn(checkDatabase, detail, "Run Dealbox near its database: every webhook waits for several round trips.")
	}
	return ok(checkDatabase, detail)
}

const fixReadOnly = "It is a standby, or read-only: give DATABASE_URL the primary, or all hosts, such as postgres://user:password@a:5432,b:5432/database."

// fixConnection returns what to do by the SQLSTATE of a refused connection.
func fixConnection(err error) string {
	switch pgerr.Code(err) {
	case "":
		if pgerr.IsReadOnly(err) {
			return fixReadOnly
		}
		return "Check that Postgres runs and that this machine reaches the host and port of DATABASE_URL."
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return "Check user and password of DATABASE_URL, and pg_hba.conf."
	case "3D000": // invalid_catalog_name
		return "Create the database, or correct its name in DATABASE_URL."
	case "53300": // too_many_connections
		return "Raise max_connections of Postgres, or lower DATABASE_MAX_CONNS."
	case "25006": // read_only_sql_transaction
		return fixReadOnly
	case "08P01": // protocol_violation: a pooler that takes no such start-up parameter
		return "Connect to Postgres itself or to a pooler in session mode that lets start-up parameters through."
	}
	return "Check the database's log."
}

func examineMigrations(ctx context.Context, pool *pgxpool.Pool) Finding {
	err := migrations.Check(ctx, pool)
	switch {
	case errors.Is(err, migrations.ErrBehind):
		return failed(checkMigrations, err.Error(), "Run 'dealbox migrate up'.")
	case errors.Is(err, migrations.ErrUnreleased):
		return failed(checkMigrations, err.Error(), "Make a new database, or empty this one, and run 'dealbox migrate up'.")
	case err != nil:
		return failed(checkMigrations, err.Error(), "Run 'dealbox migrate up' with a role that owns the tables (DATABASE_MIGRATE_URL).")
	}
	return ok(checkMigrations, "the schema is up to date")
}

func examinePartitions(ctx context.Context, pool *pgxpool.Pool) Finding {
	days, err := dbsqlc.New().InboxPartitionDaysLeft(ctx, pool)
	partitions := "inbox_event has partitions for " + text.Count(int64(days), "more day", "more days")
	switch {
	case pgerr.Code(err) == "42883": // undefined_function
		return skipped(checkPartitions, "the schema is behind")
	case err != nil:
		return failed(checkPartitions, err.Error(), "Check the role's privileges.")
	case days < 0:
		return failed(checkPartitions, "inbox_event has no partition for today: no webhook can be committed",
			"Start 'dealbox serve', which makes them, or run: SELECT inbox_make_partitions(14).")
	case days < health.MinPartitionDays:
		return warn(checkPartitions, partitions,
			"Check that a 'dealbox serve' with workers runs: it makes them 14 days ahead.")
	}
	return ok(checkPartitions, partitions)
}

// examineWebhooks reports the last delivery: the proof that Strapi reaches Dealbox.
func (d doctor) examineWebhooks(ctx context.Context, pool *pgxpool.Pool) Finding {
	last, err := dbsqlc.New().DoctorLastDelivery(ctx, pool)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return warn(checkWebhooks, "none has arrived yet: until one does, only reconciliation keeps the mirror up to date",
			"In Strapi, Settings, Webhooks: make one with the URL "+d.config.Listen.URL()+app.WebhookPath+", then press Trigger.")
	case err != nil:
		return skipped(checkWebhooks, "the schema is behind, or the role may not read inbox_event")
	}
	age := time.Duration(last.AgeSeconds * float64(time.Second)).Round(time.Second)
	return ok(checkWebhooks, fmt.Sprintf("the last one arrived %s ago, signed by scheme %s", age, last.Scheme))
}
