package doctor

import (
	"errors"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"

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

// examineRoles reports how well history is protected from the service's own role.
func examineRoles(ctx context.Context, pool *pgxpool.Pool) Finding {
	h, err := dbsqlc.New().DoctorHistory(ctx, pool)
	const grant = "Run 'dealbox migrate up' as the owner (DATABASE_MIGRATE_URL): it grants the service's role what it needs and no more."
	const separate = "Make the roles of db/roles.sql and give DATABASE_URL the app role. " +
		"Where no roles can be made, these triggers are all the protection there is: docs/operations.md, Database roles."
	role := pool.Config().ConnConfig.User
	switch {
	case err != nil:
		return failed(checkRoles, err.Error(), "Check the role's privileges.")
	case h.Tables == 0:
		return skipped(checkRoles, "the schema is behind")
	case len(h.DisabledTriggers) > 0:
		return failed(checkRoles, "history can be changed: disabled triggers: "+strings.Join(h.DisabledTriggers, ", "),
			"Enable them: ALTER TABLE … ENABLE TRIGGER …; find out who disabled them, and since when.")
	case h.Superuser:
		return warn(checkRoles, fmt.Sprintf("%s is a superuser: only triggers keep it from changing history, and it can switch them off", role), separate)
	case h.Owner:
		return warn(checkRoles, fmt.Sprintf("%s owns the tables: only triggers keep it from changing history, and it can drop them", role), separate)
	case !h.Inserts:
		return failed(checkRoles, role+" may not write rows that the service must write", grant)
	case len(h.Changes) > 0:
		return warn(checkRoles, fmt.Sprintf("only triggers keep %s from changing history; it has %s", role, strings.Join(h.Changes, ", ")), grant)
	}
	return ok(checkRoles, role+" can add to history and cannot change it")
}

// examineRetention reports events that are kept for longer than EVENT_RETENTION.
func examineRetention(ctx context.Context, pool *pgxpool.Pool, keep time.Duration) Finding {
	oldest, err := dbsqlc.New().DoctorOldestDay(ctx, pool)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return skipped(checkRetention, "there is no day of events")
	case err != nil:
		return failed(checkRetention, err.Error(), "Check the database's log.")
	}
	since := "events are kept since " + oldest.Format(time.DateOnly)
	// Retention drops a day when all of it is too old, and it runs hourly.
	if time.Since(oldest) > keep+3*24*time.Hour {
		return warn(checkRetention, since+", which is longer than EVENT_RETENTION",
			"Retention keeps a day while an event of it is pending, dead, or quarantined under an open alert: dealbox events list --status pending,dead,quarantined. "+
				"If there is none, see docs/operations.md, Retention.")
	}
	return ok(checkRetention, since)
}
