package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/app"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/localpg"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// The process is killed under load, and so is its Postgres. Every event
// that was answered 202 is processed afterwards, and the mirror is Strapi's.
// Most of its time it waits for River to take over the jobs of the dead process.
func TestCrash_LosesNoAcceptedEvent(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	postgres, err := localpg.Start(t.Context(), localpg.Config{Dir: filepath.Join(shortTempDir(t), "pg")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, postgres.Stop(context.Background())) })

	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	port := freePort(t)
	h.address = "http://127.0.0.1:" + port
	h.env = h.env.with("DATABASE_URL", postgres.URL(), "PORT", port, "LOG_LEVEL", "error")
	h.Pool.Close()
	h.Pool, err = app.OpenPool(t.Context(), app.Secret(postgres.URL()), app.CommandPool)
	require.NoError(t, err)
	t.Cleanup(h.Pool.Close)
	require.Equal(t, exitDone, dealbox(t, h.env, "", "migrate up").code)

	process := h.startProcess()
	load := h.startLoad(8, 40)

	load.acknowledge(t, 300)
	require.NoError(t, process.Process.Signal(syscall.SIGKILL))
	_ = process.Wait()
	process = h.startProcess()
	load.acknowledge(t, 300)
	require.NoError(t, postgres.Restart(t.Context(), localpg.Immediate))
	load.acknowledge(t, 300)
	require.NoError(t, process.Process.Signal(syscall.SIGKILL))
	_ = process.Wait()
	process = h.startProcess()
	load.acknowledge(t, 300)

	acknowledged := load.stop(t)
	t.Logf("acknowledged %d deliveries, %d tries were not", len(acknowledged), load.refused)
	for _, id := range acknowledged {
		key := sha256.Sum256([]byte(id))
		require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM inbox_event WHERE dedup_key = $1", key[:]), "an acknowledged event is lost: %s", id)
	}
	require.Eventually(t, func() bool {
		return h.MustText("SELECT count(*)::text FROM inbox_event_status WHERE status <> 'processed'") == "0"
	}, patience, 500*time.Millisecond, "not every acknowledged event was processed")
	h.requireMirrorEqualsStrapi()
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM deal d WHERE NOT EXISTS (SELECT FROM mirror_change c WHERE c.document_id = d.document_id AND c.after->>'name' = d.name)"))
	for _, e := range h.fake.List(fakestrapi.DealUID, strapi.Published) {
		require.Equal(t, e.Text("name"), h.MustText("SELECT name FROM deal WHERE document_id = $1", e.DocumentID))
	}

	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, process.Wait(), "SIGTERM ends it with 0")
}

// crashLoad changes deals and delivers each change until it is acknowledged.
type crashLoad struct {
	cancel  context.CancelFunc
	senders sync.WaitGroup

	mu           sync.Mutex
	acknowledged []string
	refused      int
}

func (h *env) startLoad(senders, deals int) *crashLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &crashLoad{cancel: cancel}
	var ids []string
	for i := range deals {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "status": "active"})
		require.NoError(h.T, err)
		ids = append(ids, e.DocumentID)
	}
	for s := range senders {
		l.senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				documentID := ids[(n*senders+s)%len(ids)]
				name := fmt.Sprintf("change %d of sender %d", n, s)
				if _, err := h.fake.Update(fakestrapi.DealUID, documentID, fakestrapi.Values{"name": name}); err != nil {
					panic(err)
				}
				l.deliver(h.address, fmt.Sprintf("msg_%d_%d", s, n), documentID)
			}
		})
	}
	return l
}

// deliver tries until it is acknowledged, also when the load is being stopped:
// the last change of each deal must arrive.
func (l *crashLoad) deliver(address, id, documentID string) {
	body := fmt.Sprintf(`{"event":"entry.update","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q}}`, fakestrapi.DealUID, documentID)
	for {
		status := post(address, id, body)
		l.mu.Lock()
		if status == http.StatusAccepted {
			l.acknowledged = append(l.acknowledged, id)
		} else {
			l.refused++
		}
		l.mu.Unlock()
		if status == http.StatusAccepted {
			return
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the pace of a sender, not a wait for something
	}
}

// post returns the status, 0 when there was no answer.
func post(address, id, body string) int {
	header, err := webhooksig.Sign(webhooksig.SchemeStandard, testSecret, id, time.Now(), []byte(body))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/api/v1/webhooks/strapi", bytes.NewReader([]byte(body)))
	if err != nil {
		panic(err)
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// acknowledge waits until n more deliveries were acknowledged.
func (l *crashLoad) acknowledge(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acknowledged)
	}
	target := count() + n
	require.Eventually(t, func() bool { return count() >= target }, patience, 10*time.Millisecond, "webhooks are not acknowledged any more")
}

func (l *crashLoad) stop(t *testing.T) []string {
	t.Helper()
	l.cancel()
	l.senders.Wait()
	return l.acknowledged
}

// startProcess starts `dealbox serve` and waits until it takes webhooks. It is this very
// executable: see TestMain.
func (h *env) startProcess() *exec.Cmd {
	h.T.Helper()
	executable, err := os.Executable()
	require.NoError(h.T, err)
	cmd := exec.Command(executable, "serve")
	cmd.Env = []string{isProgramEnv + "=1"}
	for name, value := range h.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stderr = os.Stderr
	require.NoError(h.T, cmd.Start())
	h.T.Cleanup(func() { _ = cmd.Process.Kill() })
	require.NoError(h.T, waitReady(h.T.Context(), h.address))
	return cmd
}

// freePort is one that nobody gets who asks for any port, nor as the near end of a
// connection: Linux takes those from 32768 up. So it stays free while a process
// that listens on it is killed and started again.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
}

// shortTempDir is short enough for a Unix socket and open to the user that
// Postgres runs as.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(localpg.TempDir(), "dbx-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
