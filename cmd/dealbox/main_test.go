package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/pgtest"
)

// isProgramEnv makes the executable of these tests the program, for tests of processes.
const isProgramEnv = "DEALBOX_TEST_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(isProgramEnv) != "" {
		main() // it exits
	}
	pgtest.Main(m)
}

// canary is in every secret of a test that must not be shown.
const canary = "cAnArY-7f3e9b1c5d2a8046-never-shown"

// secrets of the right length, each its own.
const (
	goodSecret   = "b7f0c2a94d1e8365f0a1b2c3d4e5f607"
	otherSecret  = "0d9c8b7a6f5e4d3c2b1a09f8e7d6c5b4"
	goodAPIToken = "e2b19d8c7f6a5043b2c1d0e9f8a7b6c5"
	goodAdmin    = "91a2b3c4d5e6f708192a3b4c5d6e7f80"
	goodAlert    = "7c6d5e4f30212f3e4d5c6b7a89980716"
)

func mustOpen(t *testing.T, rawURL string, o app.PoolOptions) *pgxpool.Pool {
	t.Helper()
	pool, err := app.OpenPool(t.Context(), app.Secret(rawURL), o)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// environ is an environment for a test.
type environ map[string]string

func (e environ) getenv(name string) string { return e[name] }

// with is a copy with some settings changed: name, value, name, value, …
func (e environ) with(pairs ...string) environ {
	c := environ{}
	for k, v := range e {
		c[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

// output of one run of the program.
type output struct {
	code           int
	stdout, stderr string
}

// dealbox runs the program as main does, with the arguments split at spaces.
func dealbox(t testing.TB, e environ, stdin, commandLine string) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), strings.Fields(commandLine), e.getenv, strings.NewReader(stdin), &stdout, &stderr)
	return output{code, stdout.String(), stderr.String()}
}

func TestRun_ExitCode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		commandLine    string
		code           int
		stdout, stderr string // a part of it
	}{
		{"--version", exitDone, "dealbox ", ""},
		{"--help", exitDone, "migrate status", ""},
		{"serve --help", exitDone, "It never migrates", ""},
		{"migrate up --help", exitDone, "Apply what is missing", ""},
		{"", exitUsage, "", `expected one of "dev", "serve", "migrate", "events", "alerts", ...`},
		{"migrate", exitUsage, "", `expected one of "up", "status"`},
		{"sync --allow-deletes --type=", exitUsage, "", "--type: it is given without a value"},
		{"sync --document=", exitUsage, "", "--document: it is given without a value"},
		{"events list --since=", exitUsage, "", "--since: it is given without a value"},
		{"bogus", exitUsage, "", "unexpected argument bogus\nRun 'dealbox --help'"},
		{"events list --bogus", exitUsage, "", "Run 'dealbox events list --help'"},
		{"breaker", exitUsage, "", "Run 'dealbox breaker --help'"},
		{"documents list", exitUsage, "", "Run 'dealbox documents list --help'"},
		{"doctor --bogus", exitUsage, "", "unknown flag --bogus"},
		{"serve --role=half", exitUsage, "", "--role must be one of"},
		{"sign", exitUsage, "", "missing flags: --file"},
		{"sign --file=x --scheme=token", exitUsage, "", "--scheme must be one of"},
		{"sign --file=x --send=ftp://host", exitUsage, "", "does not start with http:// or https://"},
		{"migrate status", exitFailed, "", "DATABASE_URL is not set"},
		{"sign --file=x", exitFailed, "", "STRAPI_WEBHOOK_SECRET is not set"},
		{"serve", exitFailed, "", "4 settings are wrong"},
	} {
		t.Run(test.commandLine, func(t *testing.T) {
			t.Parallel()
			out := dealbox(t, nil, "", test.commandLine)
			require.Equal(t, test.code, out.code, out.stderr)
			require.Contains(t, out.stdout, test.stdout)
			require.Contains(t, out.stderr, test.stderr)
			if test.code == exitDone {
				require.Empty(t, out.stderr)
			} else {
				require.Empty(t, out.stdout)
			}
		})
	}
}

func TestRun_CutOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"migrate", "up"}, environ{"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}.getenv, os.Stdin, &stdout, &stderr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr.String(), context.Canceled.Error())
}

var errBroken = errors.New("broken pipe")

// brokenWriter is a standard output whose reader has gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestRun_BrokenOutput(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"doctor", "--json"}, environ{}.getenv, os.Stdin, brokenWriter{}, &stderr)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr.String(), errBroken.Error())
}
