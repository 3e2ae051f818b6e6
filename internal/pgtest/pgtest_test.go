package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/localpg"
)

const helperEnv = "PGTEST_TEST_HELPER_TEMPLATE"

// TestMain is also a process that makes the template that the variable names.
func TestMain(m *testing.M) {
	if template := os.Getenv(helperEnv); template != "" {
		if err := makeTemplate(template); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	Main(m)
}

// makeTemplate does what openCluster does, with a template of another name.
func makeTemplate(template string) error {
	ctx := context.Background()
	c, err := openCluster(ctx, os.Getenv(URLEnv))
	if err != nil {
		return err
	}
	defer c.close()
	c.template = template
	if err := c.makeTemplate(ctx); err != nil {
		return err
	}
	name, err := c.clone(ctx, c.template)
	if err != nil {
		return err
	}
	return c.drop(ctx, name)
}

func testCluster(t *testing.T) *cluster {
	t.Helper()
	c, err := shared.get()
	require.NoError(t, err)
	return c
}

func exists(t *testing.T, database string) bool {
	t.Helper()
	names, err := testCluster(t).databases(t.Context(), database)
	require.NoError(t, err)
	for _, name := range names {
		if name == database {
			return true
		}
	}
	return false
}

func TestPool_Isolation(t *testing.T) {
	t.Parallel()
	a, b := Pool(t), Pool(t)
	_, err := a.Exec(t.Context(), "INSERT INTO inbox_counter (slot) VALUES (1)")
	require.NoError(t, err)
	count := func(db interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (n int) {
		require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*) FROM inbox_counter").Scan(&n))
		return n
	}
	require.Equal(t, 1, count(a))
	require.Equal(t, 0, count(b), "the other database sees nothing")
}

func TestPool_Migrated(t *testing.T) {
	t.Parallel()
	require.NoError(t, migrations.Check(t.Context(), Pool(t)))
}

func TestURL_DroppedAfterTheTest(t *testing.T) {
	t.Parallel()
	var database string
	t.Run("a test", func(t *testing.T) {
		url := URL(t)
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		// Left open: the database is dropped all the same.
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		database = conn.Config().Database
		require.True(t, exists(t, database))
	})
	require.False(t, exists(t, database))
}

// go test runs the packages in processes of their own, all at once.
func TestMakeTemplate_ManyProcesses(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	template := "dealbox_test_template_" + randomHex(4)
	t.Cleanup(func() { require.NoError(t, c.drop(context.Background(), template)) })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+template, URLEnv+"="+c.base.String(), UsingEnv+"=url")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	require.True(t, exists(t, template))
	require.False(t, exists(t, template+buildingSuffix))
}

// A process that died while it made the template leaves no half-made one.
func TestMakeTemplate_AfterACrash(t *testing.T) {
	t.Parallel()
	c := *testCluster(t)
	c.template = "dealbox_test_template_" + randomHex(4)
	require.NoError(t, c.exec(t.Context(), "CREATE DATABASE "+c.template+buildingSuffix))
	require.NoError(t, c.makeTemplate(t.Context()))
	t.Cleanup(func() { require.NoError(t, c.drop(context.Background(), c.template)) })
	require.False(t, exists(t, c.template+buildingSuffix))

	_, err := pgx.Connect(t.Context(), c.url(c.template))
	require.ErrorContains(t, err, "not currently accepting connections")
}

func TestSweep(t *testing.T) {
	t.Parallel()
	c := *testCluster(t)
	c.prefix = "dealbox_sweep_" + randomHex(4) + "_" // every test process sweeps the common ones
	born := func(ago time.Duration) string {
		name := c.prefix + strconv.FormatInt(time.Now().Add(-ago).Unix(), 36) + "_" + randomHex(4)
		require.NoError(t, c.exec(t.Context(), "CREATE DATABASE "+name))
		t.Cleanup(func() { require.NoError(t, c.drop(context.Background(), name)) })
		return name
	}
	old, fresh, used := born(2*time.Hour), born(time.Minute), born(2*time.Hour)
	conn, err := pgx.Connect(t.Context(), c.url(used))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })

	require.NoError(t, c.exec(t.Context(), "CREATE ROLE "+old+"_auditor"))
	require.NoError(t, c.sweep(t.Context()))
	require.False(t, exists(t, old))
	require.Zero(t, roles(t, old), "its roles go with it")
	require.True(t, exists(t, fresh), "younger than an hour")
	require.True(t, exists(t, used), "somebody is connected")
}

func roles(t *testing.T, database string) (n int) {
	t.Helper()
	err := testCluster(t).admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)", database+"_").Scan(&n)
	require.NoError(t, err)
	return n
}

func TestSeparateRoles(t *testing.T) {
	t.Parallel()
	var database string
	t.Run("Here", func(t *testing.T) {
		r := SeparateRoles(t)
		for role, url := range map[string]string{"_owner": r.Owner, "_app": r.App, "_auditor": r.Auditor} {
			var user string
			require.NoError(t, PoolOn(t, url).QueryRow(t.Context(), "SELECT current_database(), current_user").Scan(&database, &user))
			require.Equal(t, database+role, user)
		}
	})
	require.Zero(t, roles(t, database), "roles belong to the whole server, so each test takes its own away")
}

func TestStartServer_Errors(t *testing.T) {
	t.Run("UnknownKind", func(t *testing.T) {
		_, err := StartServer(t.Context(), "magic")
		require.ErrorContains(t, err, "auto, url, container or local")
	})
	t.Run("NoURL", func(t *testing.T) {
		t.Setenv(URLEnv, "")
		_, err := StartServer(t.Context(), UsingURL)
		require.ErrorContains(t, err, URLEnv)
	})
	t.Run("UnreachableURL", func(t *testing.T) {
		_, err := openCluster(t.Context(), "postgres://me:secret@127.0.0.1:1/postgres?sslmode=disable")
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret")
	})
}

// Local binaries and containers give servers that pgtest can use.
func TestStartServer_Kinds(t *testing.T) {
	t.Parallel()
	for _, using := range []Using{UsingLocal, UsingContainer} {
		t.Run(string(using), func(t *testing.T) {
			t.Parallel()
			// The client, too: .ci/run leads it away from an engine that cannot run containers.
			if err := errors.Join(dockerAnswers(t.Context()), localpg.DockerAnswers(t.Context())); using == UsingContainer && err != nil {
				t.Skip(err)
			}
			s, err := StartServer(t.Context(), using)
			if localpg.IsMissing(err) {
				t.Skip(err)
			}
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
			require.Contains(t, strings.ToLower(s.Kind), string(using))
			conn, err := pgx.Connect(t.Context(), s.URL)
			require.NoError(t, err)
			var fsync string
			require.NoError(t, conn.QueryRow(t.Context(), "SHOW fsync").Scan(&fsync))
			require.Equal(t, "off", fsync)
			require.NoError(t, conn.Close(t.Context()))
		})
	}
}
