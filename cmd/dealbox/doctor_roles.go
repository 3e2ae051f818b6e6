package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	checkRoles     = "roles"
	checkRetention = "retention"
)

// historyFacts says what the service's role could do to history: to the tables that are
// written once, with their days, and to those of which columns are; see
// db/migrations/grants.sql. A trigger that fires for replicas alone is as good as disabled.
const historyFacts = `
WITH written AS (
    SELECT to_regclass('public.' || name) AS oid, fixed FROM (VALUES
        ('inbox_event', NULL::text[]), ('mirror_change', NULL), ('alert_event', NULL), ('circuit_breaker_event', NULL), ('retention_event', NULL),
        ('alert', '{fingerprint,rule,subject,first_seen}'),
        ('notification', '{alert_id,channel,reason,sequence,created_at}'),
        ('silence', '{rule,subject,author,comment,created_at,expires_at}')) t (name, fixed)
    UNION ALL
    SELECT inhrelid, NULL FROM pg_inherits WHERE inhparent = to_regclass('public.inbox_event')
), history AS (
    SELECT c.oid, c.relname, c.relowner, w.fixed, c.relname <> 'retention_event' AND NOT c.relispartition AS grows
    FROM written w JOIN pg_class c ON c.oid = w.oid
)
SELECT (SELECT count(*) FROM history),
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       (SELECT coalesce(bool_or(pg_has_role(relowner, 'USAGE')), false) FROM history),
       (SELECT coalesce(bool_and(has_table_privilege(oid, 'INSERT')), false) FROM history WHERE grows),
       ARRAY(SELECT privilege || ' on ' || relname FROM history, unnest(ARRAY['DELETE', 'TRUNCATE']) privilege
             WHERE has_table_privilege(history.oid, privilege)
             UNION
             SELECT 'UPDATE on ' || relname FROM history JOIN pg_attribute a ON attrelid = history.oid AND attnum > 0 AND NOT attisdropped
             WHERE (fixed IS NULL OR attname = ANY (fixed)) AND has_column_privilege(history.oid, attnum, 'UPDATE')
             ORDER BY 1),
       ARRAY(SELECT relname || '.' || tgname FROM history JOIN pg_trigger ON tgrelid = history.oid
             WHERE tgfoid = to_regproc('public.refuse_change') AND tgenabled NOT IN ('O', 'A') ORDER BY 1)`

// examineRoles says how well history is protected from the service's own role.
func examineRoles(ctx context.Context, pool *pgxpool.Pool) finding {
	var (
		tables                    int
		superuser, owner, inserts bool
		changes, disabled         []string
	)
	err := pool.QueryRow(ctx, historyFacts).Scan(&tables, &superuser, &owner, &inserts, &changes, &disabled)
	const grant = "Run 'dealbox migrate up' as the owner (DATABASE_MIGRATE_URL): it grants the service's role what it needs and no more."
	const separate = "Make the roles of db/roles.sql and give DATABASE_URL the app role. " +
		"Where no roles can be made, this is the most there is: docs/operations.md, Database roles."
	role := pool.Config().ConnConfig.User
	switch {
	case err != nil:
		return failed(checkRoles, err.Error(), "Check the role's privileges.")
	case tables == 0:
		return skipped(checkRoles, "the schema is behind")
	case len(disabled) > 0:
		return failed(checkRoles, "history can be changed: disabled triggers: "+strings.Join(disabled, ", "),
			"Enable them: ALTER TABLE … ENABLE TRIGGER …; find out who disabled them, and since when.")
	case superuser:
		return warn(checkRoles, fmt.Sprintf("%s is a superuser: only triggers keep it from changing history, and it can switch them off", role), separate)
	case owner:
		return warn(checkRoles, fmt.Sprintf("%s owns the tables: only triggers keep it from changing history, and it can drop them", role), separate)
	case !inserts:
		return failed(checkRoles, role+" may not write what it must", grant)
	case len(changes) > 0:
		return warn(checkRoles, fmt.Sprintf("only triggers keep %s from changing history; it has %s", role, strings.Join(changes, ", ")), grant)
	}
	return ok(checkRoles, role+" can add to history and cannot change it")
}

// examineRetention says whether events are kept for longer than they should be.
func examineRetention(ctx context.Context, pool *pgxpool.Pool, keep time.Duration) finding {
	var oldest *time.Time
	err := pool.QueryRow(ctx, `SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD')) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass('public.inbox_event') AND c.relname ~ '^inbox_event_\d{8}$'`).Scan(&oldest)
	switch {
	case err != nil:
		return failed(checkRetention, err.Error(), "Check the database's log.")
	case oldest == nil:
		return skipped(checkRetention, "there is no day of events")
	}
	since := "events are kept since " + oldest.Format(time.DateOnly)
	// A day is dropped when all of it is too old, and a retention that runs hourly needs some time.
	if time.Since(*oldest) > keep+3*24*time.Hour {
		return warn(checkRetention, since+", which is longer than EVENT_RETENTION",
			"A day stays while an event of it is pending, dead, or quarantined under an open alert: dealbox events list --status pending,dead,quarantined. "+
				"If there is none, see docs/operations.md, Retention.")
	}
	return ok(checkRetention, since)
}
