package realstrapi_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/realstrapi"
)

// write sends one request that must succeed, and returns the documentId.
func (st *stage) write(t *testing.T, method, path string, data values) string {
	t.Helper()
	answer, err := st.strapi.REST(t.Context(), method, path, values{"data": data})
	require.NoError(t, err)
	require.Less(t, answer.Status, 300, string(answer.Body))
	var document struct{ Data struct{ DocumentID string } }
	require.NoError(t, json.Unmarshal(answer.Body, &document))
	return document.Data.DocumentID
}

// deal makes an active deal.
func (st *stage) deal(t *testing.T, name string) string {
	t.Helper()
	return st.write(t, http.MethodPost, "/api/pipeline-deals", values{
		"name": name, "deal_status": "active", "deal_value": 1000, "stage": "proposal", "expected_close_date": "2027-05-05",
	})
}

// deals makes some, and waits until Dealbox has the webhooks of each.
func (st *stage) deals(t *testing.T, count int, name string) (ids []string) {
	t.Helper()
	from := st.recorder.count()
	for n := range count {
		ids = append(ids, st.deal(t, fmt.Sprint(name, " ", n)))
	}
	st.whole(t, from, count*st.perWrite())
	return ids
}

// perWrite returns how many webhooks a write over REST makes: a create, an update, or
// the deletion of what is published.
func (st *stage) perWrite() int {
	if st.drafts {
		return 2 // of the draft, and of the published version
	}
	return 1
}

// writers change deals at the same time; change is called before each write.
func (st *stage) writers(t *testing.T, writers, each int, ids []string, before func()) {
	t.Helper()
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for n := range each {
				before()
				answer, err := st.strapi.REST(context.WithoutCancel(t.Context()), http.MethodPut, "/api/pipeline-deals/"+ids[(w*each+n)%len(ids)],
					values{"data": values{"name": fmt.Sprintf("writer %d, change %d", w, n), "deal_value": 1000 + w*each + n}})
				if err != nil || answer.Status != http.StatusOK {
					t.Errorf("a write failed: %v %d %s", err, answer.Status, answer.Body)
					return
				}
			}
		})
	}
	running.Wait()
}

// tenWriters: the last state is the one that Strapi keeps, whatever the order of
// the webhooks and of updatedAt.
func (st *stage) tenWriters(t *testing.T) {
	ids := st.deals(t, 1, "ten writers")
	from := st.recorder.count()
	st.writers(t, 10, 10, ids, func() {})
	st.recorder.answered(t, from, 100*st.perWrite())
	st.dealbox.requireMirror(st.strapi, st.drafts, "ten writers")
}

// dealboxDown: what was written meanwhile arrives, by the plugin's retries or by the
// reconciliation.
func (st *stage) dealboxDown(t *testing.T) {
	ids := st.deals(t, 2, "Dealbox will be down")
	deleted, changed := ids[0], ids[1]
	st.dealbox.waitIdle()
	from := st.recorder.count()
	st.dealbox.stop()
	for n := range 5 {
		st.write(t, http.MethodPut, "/api/pipeline-deals/"+changed, values{"deal_value": 5000 + n})
	}
	st.deal(t, "made while Dealbox was down")
	_, err := st.strapi.REST(t.Context(), http.MethodDelete, "/api/pipeline-deals/"+deleted, nil)
	require.NoError(t, err)
	st.recorder.answered(t, from, 7*st.perWrite())
	st.dealbox.start()
	t.Log(st.dealbox.sync())
	st.dealbox.requireMirror(st.strapi, st.drafts, "Dealbox was down")
}

// restartDuringWrites prints how many deliveries are lost when Dealbox is deployed.
func (st *stage) restartDuringWrites(t *testing.T) {
	const total, clients = 200, 4
	ids := st.deals(t, 20, "restart")
	from := st.recorder.count()
	var mu sync.Mutex
	written := 0
	restarted := make(chan struct{})
	st.writers(t, clients, total/clients, ids, func() {
		mu.Lock()
		defer mu.Unlock()
		if written++; written == total/4 {
			go func() { // the writers go on
				defer close(restarted)
				st.dealbox.stop()
				st.dealbox.start()
			}()
		}
	})
	<-restarted
	st.whole(t, from, total*st.perWrite())
	lost, sent := st.recorder.lost(from)
	t.Logf("Dealbox was restarted during %d writes: %d deliveries, %d of them lost", total, sent, lost)
	if !st.stock() {
		require.Zero(t, lost, "the plugin sends again what did not arrive")
	}
	t.Log(st.dealbox.sync())
	st.dealbox.requireMirror(st.strapi, st.drafts, "restarted during writes")
}

func (st *stage) stock() bool { return st.dealbox.env["STRAPI_WEBHOOK_TOKEN"] != "" }

// whole waits until each of the deliveries was sent and, where the plugin sends
// again, was taken.
func (st *stage) whole(t *testing.T, from, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		lost, sent := st.recorder.lost(from)
		return sent >= want && (lost == 0 || st.stock())
	}, 5*time.Minute, 20*time.Millisecond, "the deliveries do not arrive")
	st.recorder.answered(t, from, want)
}

// dealboxKilled: what was acknowledged is not lost, what was not is sent again.
func (st *stage) dealboxKilled(t *testing.T) {
	ids := st.deals(t, 10, "kill")
	from := st.recorder.count()
	var mu sync.Mutex
	written, restarted := 0, make(chan struct{})
	st.writers(t, 4, 25, ids, func() {
		mu.Lock()
		defer mu.Unlock()
		if written++; written == 40 {
			go func() {
				defer close(restarted)
				st.dealbox.kill()
				st.dealbox.start()
			}()
		}
	})
	<-restarted
	st.whole(t, from, 100*st.perWrite())
	lost, sent := st.recorder.lost(from)
	t.Logf("Dealbox was killed during 100 writes: %d deliveries, %d of them lost", sent, lost)
	require.Zero(t, lost)
	st.dealbox.requireMirror(st.strapi, st.drafts, "killed during writes")
}

// strapiKilled: the webhooks in its queue are lost; one reconciliation finds every difference.
func (st *stage) strapiKilled(t *testing.T) {
	ids := st.deals(t, 10, "queue")
	st.dealbox.waitIdle()
	from := st.recorder.count()
	st.recorder.holdBack()
	st.writers(t, 3, 10, ids, func() {})
	// Five at a time go out; the others wait in its memory.
	require.Eventually(t, func() bool { return st.recorder.count()-from >= 5 }, 4*time.Minute, 10*time.Millisecond)
	st.strapi.Kill()
	st.recorder.resume()
	require.NoError(t, st.strapi.Start(context.WithoutCancel(t.Context())))
	_, sent := st.recorder.lost(from)
	queued := 30 * st.perWrite()
	require.Less(t, sent, queued, "the queue was not full")
	t.Logf("Strapi was killed after 30 writes: %d webhooks had left it, %d were lost", sent, queued-sent)
	t.Log(st.dealbox.sync())
	st.dealbox.requireMirror(st.strapi, st.drafts, "Strapi was killed")
}

// secretChanged follows docs/strapi-webhook-setup.md, with writes all the time
// that Strapi is there. No delivery is refused.
func (st *stage) secretChanged(t *testing.T) {
	id := st.deals(t, 1, "secret")[0]
	from := st.recorder.count()
	old, fresh := st.dealbox.env["STRAPI_WEBHOOK_SECRET"], make([]byte, 32)
	_, _ = rand.Read(fresh)
	changed := hex.EncodeToString(fresh)
	deploy := func(secrets string) {
		st.dealbox.stop()
		st.dealbox.env["STRAPI_WEBHOOK_SECRET"] = secrets
		st.dealbox.start()
	}
	put := func(n int) {
		st.write(t, http.MethodPut, "/api/pipeline-deals/"+id, values{"deal_value": 7000 + n})
		st.whole(t, from, n*st.perWrite())
	}
	put(1)
	deploy(old + "," + changed)
	put(2)
	st.strapi.Stop()
	st.strapi.Configure(func(c *realstrapi.Config) { c.Settings["STRAPI_WEBHOOK_SECRET"] = changed })
	require.NoError(t, st.strapi.Start(context.WithoutCancel(t.Context())))
	put(3)
	deploy(changed)
	put(4)
	for _, d := range st.recorder.since(from) {
		require.NotEqual(t, http.StatusUnauthorized, d.status)
	}
	lost, _ := st.recorder.lost(from)
	require.Zero(t, lost)
	st.dealbox.requireMirror(st.strapi, st.drafts, "the secret was changed")
}
