package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/localpg"
	"dealbox/internal/pgtest"
)

// The disk of the database is full, a real one: webhooks are answered 503, nothing that
// was acknowledged is lost, and all goes on when there is room again.
func TestServe_DiskFull(t *testing.T) {
	t.Parallel()
	disk, postgres := newSmallDisk(t, 48<<20)
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.use(t, postgres)
	h.serve()
	ids := h.deals(1)
	require.Equal(t, http.StatusAccepted, h.deliver("msg_before", update(ids[0])))
	h.waitIdle()

	free := disk.fill()
	acknowledged := []string{"msg_before"}
	// A large one needs room at once, small ones when the pages that are there are full.
	large := make([]byte, 32<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large) // nothing that Postgres could compress
	for _, notes := range []string{fmt.Sprintf("%x", large), ""} {
		h.eventually("a webhook is refused", func() bool {
			id := fmt.Sprint("msg_full_", len(acknowledged))
			status, retryAfter := h.tryDeliver(id, fmt.Sprintf(`{"event":"entry.update","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q,"notes":%q}}`,
				fakestrapi.DealUID, ids[0], notes))
			if status == http.StatusAccepted {
				acknowledged = append(acknowledged, id)
				return false
			}
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.NotEmpty(t, retryAfter)
			return true
		})
	}
	h.eventually("readiness says why", func() bool { return strings.Contains(fmt.Sprint(h.get("/readyz")), "disk_full") })

	free()
	require.Equal(t, http.StatusAccepted, h.deliver("msg_after", update(ids[0])))
	for _, id := range append(acknowledged, "msg_after") {
		key := sha256.Sum256([]byte(id))
		require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM inbox_event WHERE dedup_key = $1", key[:]), id)
	}
	h.eventually("the alert says so", func() bool {
		return pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert WHERE rule = 'webhooks_refused'") == 1
	})
	h.waitIdle()
	h.requireMirrorEqualsStrapi()
}

// smallDisk is a file system of some megabytes.
type smallDisk struct {
	t   *testing.T
	dir string
}

// newSmallDisk mounts a disk and makes a database on it, on a Postgres of its own: its WAL
// is elsewhere, so that the server itself goes on. Only root may mount.
func newSmallDisk(t *testing.T, size int) (d smallDisk, databaseURL string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	dir := shortTempDir(t)
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(dir, "pg"), Using: localpg.Binaries, Settings: map[string]string{"fsync": "off"}})
	if localpg.IsMissing(err) {
		t.Skip("the disk must be this machine's, and it has no Postgres binaries")
	}
	require.NoError(t, err)
	d = smallDisk{t: t, dir: filepath.Join(dir, "disk")}
	require.NoError(t, os.Mkdir(d.dir, 0o700))
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprint("size=", size)); errors.Is(err, syscall.EPERM) {
		require.NoError(t, postgres.Stop(context.Background()))
		t.Skip("this machine lets nobody mount a small disk")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		require.NoError(t, postgres.Stop(context.Background()))
		require.NoError(t, syscall.Unmount(d.dir, 0))
	})
	// Postgres runs as the owner of its data.
	data, err := os.Stat(filepath.Join(postgres.Dir(), "data"))
	require.NoError(t, err)
	owner := data.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(d.dir, int(owner.Uid), int(owner.Gid)))
	require.NoError(t, os.Chmod(d.dir, 0o700))
	conn, err := pgx.Connect(t.Context(), postgres.URL())
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), "CREATE TABLESPACE small LOCATION '"+d.dir+"'")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE DATABASE small TABLESPACE small")
	require.NoError(t, err)
	u, err := url.Parse(postgres.URL())
	require.NoError(t, err)
	u.Path = "/small"
	return d, u.String()
}

// fill writes a file until there is no room, and returns what removes it.
func (d smallDisk) fill() (free func()) {
	d.t.Helper()
	path := filepath.Join(d.dir, "filler")
	file, err := os.Create(path)
	require.NoError(d.t, err)
	for err == nil {
		_, err = io.Copy(file, bytes.NewReader(make([]byte, 64<<10)))
	}
	require.ErrorIs(d.t, err, syscall.ENOSPC)
	require.NoError(d.t, file.Close())
	return func() { require.NoError(d.t, os.Remove(path)) }
}
