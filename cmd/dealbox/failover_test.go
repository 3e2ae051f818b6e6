package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/localpg"
	"dealbox/internal/pgtest"
)

// The primary dies and its synchronous standby takes over: DATABASE_URL names both, so
// webhooks are accepted again, and none that was acknowledged is lost.
func TestServe_Failover(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	settings := map[string]string{"fsync": "off"}
	primary, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(dir, "a"), Using: localpg.Binaries, Settings: settings})
	if localpg.IsMissing(err) {
		t.Skip("a standby needs the Postgres binaries of this machine")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, primary.Stop(context.Background())) })
	copyServer(t, primary, filepath.Join(dir, "b"))
	standby, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(dir, "b"), Using: localpg.Binaries, Settings: settings})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Stop(context.Background())) })

	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.use(t, bothURL(t, primary, standby))
	h.MustExec("ALTER SYSTEM SET synchronous_standby_names = '*'")
	h.MustExec("SELECT pg_reload_conf()")
	h.MustEventually("EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming')")
	h.serve()

	var acknowledged atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for ctx.Err() == nil {
			if h.deliver(fmt.Sprint("msg_", acknowledged.Load()), update("x")) == http.StatusAccepted {
				acknowledged.Add(1)
			}
		}
	}()
	h.eventually("webhooks are accepted", func() bool { return acknowledged.Load() > 20 })
	require.NoError(t, primary.Kill())
	promote(t, standby)
	before := acknowledged.Load()
	h.eventually("webhooks are accepted by the new primary", func() bool { return acknowledged.Load() > before+20 })
	stop()
	<-sent
	h.Pool.Reset() // its connections are to the primary that is gone
	for i := range acknowledged.Load() {
		key := sha256.Sum256([]byte(fmt.Sprint("msg_", i)))
		require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM inbox_event WHERE dedup_key = $1", key[:]), "%d is lost", i)
	}
}

// copyServer makes the data of a standby in a folder for localpg.
func copyServer(t *testing.T, primary *localpg.Server, dir string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), primary.URL())
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var programs string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&programs))
	require.NoError(t, os.Mkdir(dir, 0o755))
	password, err := os.ReadFile(filepath.Join(primary.Dir(), "password"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), password, 0o600))
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "pg_basebackup"), "--pgdata", filepath.Join(dir, "data"),
		"--dbname", primary.URL(), "--write-recovery-conf", "--checkpoint", "fast", "--no-sync").CombinedOutput()
	require.NoError(t, err, string(out))
	if os.Geteuid() != 0 {
		return
	}
	// As root, Postgres runs as the owner of its data.
	out, err = exec.CommandContext(t.Context(), "chown", "-R", "--reference", filepath.Join(primary.Dir(), "data"), dir).CombinedOutput()
	require.NoError(t, err, string(out))
}

// bothURL names both servers.
func bothURL(t *testing.T, primary, standby *localpg.Server) string {
	t.Helper()
	u, err := url.Parse(primary.URL())
	require.NoError(t, err)
	u.Host += ",127.0.0.1:" + strconv.Itoa(standby.Port())
	return u.String()
}

func promote(t *testing.T, standby *localpg.Server) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), standby.URL())
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var promoted bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_promote()").Scan(&promoted))
	require.True(t, promoted)
}

// use gives the service another database, and migrates it.
func (h *env) use(t *testing.T, databaseURL string) {
	t.Helper()
	h.env = h.env.with("DATABASE_URL", databaseURL)
	h.Pool.Close()
	var err error
	h.Pool, err = app.OpenPool(t.Context(), app.Secret(databaseURL), app.CommandPool)
	require.NoError(t, err)
	t.Cleanup(h.Pool.Close)
	require.Equal(t, exitDone, dealbox(t, h.env, "", "migrate up").code)
}
