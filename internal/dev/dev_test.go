package dev

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/localpg"
	"dealbox/internal/pgtest"
)

// One call with nothing configured: the service runs beside a simulated Strapi, the
// printed curl is accepted, and Ctrl-C stops everything.
func TestRun(t *testing.T) {
	t.Parallel()
	// Short enough for a Unix socket, and open to the user that Postgres runs as.
	state, err := os.MkdirTemp(localpg.TempDir(), "dev-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(state, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(state) })
	ctx, stop := context.WithCancel(t.Context())
	port := freePort(t)
	var out pgtest.Log
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			Port: port, Version: "test", Stdout: &out, Stderr: &out,
			Getenv: func(name string) string { return map[string]string{"XDG_STATE_HOME": state}[name] },
		})
	}()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "One webhook was held back") },
		5*time.Minute, 50*time.Millisecond, "%s", &out)
	curl := regexp.MustCompile(`(?s)curl .*?--data-binary '[^\n]*'`).FindString(out.String())
	answer, err := exec.CommandContext(t.Context(), "sh", "-c", curl).CombinedOutput()
	require.NoError(t, err, "%s", answer)
	require.Contains(t, string(answer), `"status":"accepted"`)
	stop()
	require.NoError(t, <-ended)
	require.Contains(t, out.String(), "Stopped. The data is kept in "+state)
}

func TestRun_PortInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	err = Run(t.Context(), Config{Port: listener.Addr().(*net.TCPAddr).Port})
	require.ErrorContains(t, err, "choose one with --port")
}

// freePort is below the ports that Linux gives to whoever asks for any (32768 and up),
// so it stays free until dev listens on it.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
}
