package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

func mustStatus(t *testing.T, e environ) migrateStatus {
	t.Helper()
	out := dealbox(t, e, "", "migrate status --json")
	require.Equal(t, exitDone, out.code, out.stderr)
	var status migrateStatus
	require.NoError(t, json.Unmarshal([]byte(out.stdout), &status))
	return status
}

func TestMigrate_UpAndStatus(t *testing.T) {
	t.Parallel()
	e := environ{"DATABASE_URL": pgtest.EmptyURL(t)} // and nothing else

	before := mustStatus(t, e)
	require.False(t, before.UpToDate)
	require.Equal(t, len(before.Migrations), before.Missing)
	out := dealbox(t, e, "", "migrate status")
	require.Equal(t, exitDone, out.code, "being behind is an answer")
	require.Contains(t, out.stdout, fmt.Sprintf("behind by %d steps: run 'dealbox migrate up'", before.Missing))

	out = dealbox(t, e, "", "migrate up")
	require.Equal(t, exitDone, out.code, out.stderr)
	require.Equal(t, before.Missing, strings.Count(out.stdout, "\napplied "), out.stdout)
	for _, m := range before.Migrations {
		require.Contains(t, out.stdout, fmt.Sprintf("applied %s %d %s\n", m.Set, m.Version, m.Name))
	}

	require.True(t, mustStatus(t, e).UpToDate)
	require.Contains(t, dealbox(t, e, "", "migrate status").stdout, "\nup to date\n")
	out = dealbox(t, e, "", "migrate up")
	require.Equal(t, exitDone, out.code)
	require.Contains(t, out.stdout, "nothing to do")
}

func TestMigrate_ThreeAtOnceApplyEachStepOnce(t *testing.T) {
	t.Parallel()
	e := environ{"DATABASE_URL": pgtest.EmptyURL(t)}
	outs := make([]output, 3)
	var all sync.WaitGroup
	for i := range outs {
		all.Go(func() { outs[i] = dealbox(t, e, "", "migrate up") })
	}
	all.Wait()
	applied := 0
	for _, out := range outs {
		require.Equal(t, exitDone, out.code, out.stderr)
		applied += strings.Count(out.stdout, "\napplied ")
	}
	require.Len(t, mustStatus(t, e).Migrations, applied, "each step once")
}

// A database from before the first release is refused by each command that uses the
// schema, serve among them, which does not wait for it to become another.
func TestMigrate_Unreleased(t *testing.T) {
	t.Parallel()
	e := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}).env.with(
		"DATABASE_URL", pgtest.EmptyURL(t), "PORT", "0")
	old, err := os.ReadFile("../../db/migrations/testdata/unreleased.sql")
	require.NoError(t, err)
	pgtest.OpenOn(t, e["DATABASE_URL"]).MustExec(string(old))
	for _, command := range []string{"migrate up", "migrate status", "serve"} {
		out := dealbox(t, e, "", command)
		require.Equal(t, exitFailed, out.code, command)
		require.Contains(t, out.stderr, "make a new database, or empty this one", command)
		require.Contains(t, out.stderr, "step 15 of the old numbering", command)
	}
}

func TestMigrate_CommandsNameItWhenTablesAreMissing(t *testing.T) {
	t.Parallel()
	e := environ{"DATABASE_URL": pgtest.EmptyURL(t)}
	for _, command := range []string{"alerts list", "alerts ack 1", "events list", "events replay --dead", "breaker show", "sync"} {
		out := dealbox(t, e, "", command)
		require.Equal(t, exitFailed, out.code, command)
		require.Contains(t, out.stderr, "see 'dealbox migrate status'", command)
	}
}

func TestMigrate_PrefersTheOwnersURL(t *testing.T) {
	t.Parallel()
	e := environ{"DATABASE_URL": "postgres://nobody:" + canary + "@127.0.0.1:1/none", "DATABASE_MIGRATE_URL": pgtest.URL(t)}
	require.True(t, mustStatus(t, e).UpToDate)
}

func TestMigrate_Unreachable(t *testing.T) {
	t.Parallel()
	e := environ{"DATABASE_URL": "postgres://nobody:" + canary + "@127.0.0.1:1/none"}
	for _, command := range []string{"migrate up", "migrate status"} {
		out := dealbox(t, e, "", command)
		require.Equal(t, exitFailed, out.code)
		require.Contains(t, out.stderr, "reach the database")
		require.NotContains(t, out.stderr, canary)
	}
}

// The error for a role that owns nothing names the setting for that.
func TestMigrate_NoPrivilege(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.EmptyURL(t))
	require.NoError(t, err)
	database := strings.TrimPrefix(u.Path, "/")
	role := mustRole(t, u.String(), "reader_"+database)
	pgtest.OpenOn(t, u.String()).MustExec("REVOKE CREATE ON DATABASE " + database + " FROM PUBLIC")
	u.User = url.UserPassword(role, "x")
	out := dealbox(t, environ{"DATABASE_URL": u.String()}, "", "migrate up")
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stderr, "set DATABASE_MIGRATE_URL to the owner")
}

// mustRole makes a role that may log in with the password x.
func mustRole(t *testing.T, rawURL, role string) string {
	t.Helper()
	pgtest.OpenOn(t, rawURL).MustExec("CREATE ROLE " + role + " LOGIN PASSWORD 'x'")
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		conn, err := pgx.Connect(ctx, rawURL)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, "DROP ROLE "+role)
		require.NoError(t, err)
		require.NoError(t, conn.Close(ctx))
	})
	return role
}

func TestAppliedText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "missing", appliedText(migrations.Migration{}))
	require.Equal(t, "yes", appliedText(migrations.Migration{Applied: true}), "River notes no time that we read")
}
