package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

const programEnv = "WITHPG_TEST_PROGRAM"

// TestMain is also the program under test.
func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		_ = os.Unsetenv(programEnv)
		main()
	}
	os.Exit(m.Run())
}

// withpg is the program with these arguments, on local binaries if it may choose.
func withpg(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	return cmd
}

func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, &exit)
		return exit.ExitCode()
	}
	return 0
}

func TestRun_Usage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--"}, {"-no-such-flag", "true"}} {
		require.Equal(t, exitUsage, run(args, &bytes.Buffer{}))
	}
	var stderr bytes.Buffer
	require.Equal(t, exitFailed, run([]string{"-using", "magic", "true"}, &stderr))
	require.Contains(t, stderr.String(), `"magic"`)
}

func TestRun_GivenURL(t *testing.T) {
	t.Parallel()
	const url = "postgres://somebody:secret@127.0.0.1:1/postgres" // never connected to
	cmd := withpg("-using", "url", "--", "sh", "-c", `[ "$TEST_DATABASE_URL" = "`+url+`" ] && exit 7`)
	cmd.Env = append(cmd.Env, pgtest.URLEnv+"="+url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.Equal(t, 7, exitOf(t, cmd), "the command's exit code")
	require.Contains(t, stderr.String(), pgtest.URLEnv)
	require.NotContains(t, stderr.String(), "secret")
}

// The server is there while the command runs, and gone afterwards, however it ends.
func TestRun_OwnServer(t *testing.T) {
	t.Parallel()
	cmd := withpg("--", "sh", "-c", `echo "$TEST_DATABASE_URL"; exec sleep 600`)
	cmd.Env = append(cmd.Env, pgtest.URLEnv+"=", pgtest.UsingEnv+"="+string(pgtest.UsingLocal))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		_ = cmd.Wait()
		t.Skip("no local Postgres: ", stderr.String())
	}
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Equal(t, 128+int(syscall.SIGTERM), cmd.ProcessState.ExitCode(), "the command was ended by the signal")
	_, err = pgx.Connect(t.Context(), url)
	require.Error(t, err)
	_, how, found := strings.Cut(stderr.String(), "kill -INT ")
	require.True(t, found, stderr.String())
	pid, err := strconv.Atoi(strings.TrimSpace(how))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, time.Minute, 10*time.Millisecond)
}
