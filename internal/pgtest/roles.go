package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"dealbox/db/migrations"
)

// Roles are the URLs of one database for each role that db/roles.sql makes, and
// for the administrator of the test server.
type Roles struct{ Admin, Owner, App, Auditor string }

// SeparateRoles makes a new, migrated database as it is run in production: with
// the roles of db/roles.sql and the privileges that `dealbox migrate up` grants.
// The roles go with the database.
func SeparateRoles(t testing.TB) Roles {
	t.Helper()
	admin := URL(t)
	if err := RunRolesSQL(t.Context(), admin); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	roles, err := rolesOf(t.Context(), admin)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if _, err := migrations.Up(t.Context(), PoolOn(t, roles.Owner), nil); err != nil {
		t.Fatalf("pgtest: grant the roles what they may do: %v", err)
	}
	return roles
}

// RunRolesSQL runs db/roles.sql as the role of the URL.
func RunRolesSQL(ctx context.Context, url string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	sql, err := os.ReadFile(filepath.Join(root, "db", "roles.sql"))
	if err != nil {
		return fmt.Errorf("read the script that makes the roles: %w", err)
	}
	return execOn(ctx, url, string(sql))
}

// rolesOf gives each role a password, for servers that ask for one.
func rolesOf(ctx context.Context, admin string) (Roles, error) {
	base, err := url.Parse(admin)
	if err != nil {
		return Roles{}, fmt.Errorf("read the database's URL: %w", err)
	}
	database := strings.TrimPrefix(base.Path, "/")
	as := func(role string) string {
		u := *base
		u.User = url.UserPassword(database+role, database)
		return u.String()
	}
	var sql strings.Builder
	for _, role := range []string{"_owner", "_app", "_auditor"} {
		fmt.Fprintf(&sql, "ALTER ROLE %s PASSWORD '%s';", database+role, database)
	}
	if err := execOn(ctx, admin, sql.String()); err != nil {
		return Roles{}, err
	}
	return Roles{Admin: admin, Owner: as("_owner"), App: as("_app"), Auditor: as("_auditor")}, nil
}

func execOn(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("run SQL: %w", err)
	}
	return nil
}
