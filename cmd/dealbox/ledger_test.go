package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
)

// counts are the numbers of the ledger: received, processed, pending, dead,
// ignored, quarantined.
type counts [6]int64

func (c counts) addsUp() bool { return c[0] == c[1]+c[2]+c[3]+c[4]+c[5] }

const countRows = `SELECT count(*), count(*) FILTER (WHERE status = 'processed'), count(*) FILTER (WHERE status = 'pending'),
	count(*) FILTER (WHERE status = 'dead'), count(*) FILTER (WHERE status = 'ignored'), count(*) FILTER (WHERE status = 'quarantined')
	FROM inbox_event_status`

// ledgers reads, in one snapshot, the exact count over the rows, the view, and
// the statement that health and metrics are answered from.
func (h *env) ledgers() (exact, view, health counts) {
	h.T.Helper()
	ctx := h.T.Context()
	err := pgx.BeginTxFunc(ctx, h.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, countRows).Scan(&exact[0], &exact[1], &exact[2], &exact[3], &exact[4], &exact[5]); err != nil {
			return err
		}
		v, err := dbsqlc.New().InboxLedger(ctx, tx)
		if err != nil {
			return err
		}
		view = counts{v.Received, v.Processed, v.Pending, v.Dead, v.Ignored, v.Quarantined}
		f, err := dbsqlc.New().HealthOverview(ctx, tx, dbsqlc.HealthOverviewParams{})
		health = counts{f.Received, f.Processed, f.Pending, f.Dead, f.Ignored, f.Quarantined}
		return err
	})
	require.NoError(h.T, err)
	return exact, view, health
}

// overHTTP reads the ledger as a dashboard does.
func (h *env) overHTTP() (c counts) {
	h.T.Helper()
	ledger := h.health()["ledger"].(map[string]any)
	for i, name := range []string{"received", "processed", "pending", "dead", "ignored", "quarantined"} {
		n, err := ledger[name].(json.Number).Int64()
		require.NoError(h.T, err)
		c[i] = n
	}
	return c
}

var metricLine = regexp.MustCompile(`(?m)^dealbox_events(?:_received_total|\{status="(\w+)"\}) (\d+)$`)

// overMetrics reads the ledger as Prometheus does.
func (h *env) overMetrics() (c counts) {
	h.T.Helper()
	var found [][]string
	// As for health: a probe has 1.5 s, and what it could not read is left out.
	h.eventually("the metrics are complete", func() bool {
		req, err := http.NewRequestWithContext(h.T.Context(), http.MethodGet, h.address+"/metrics", nil)
		if err != nil {
			return false
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		found = metricLine.FindAllStringSubmatch(string(text), -1)
		return err == nil && len(found) == len(c)
	})
	at := map[string]int{"": 0, "processed": 1, "pending": 2, "dead": 3, "ignored": 4, "quarantined": 5}
	for _, m := range found {
		_, err := fmt.Sscan(m[2], &c[at[m[1]]])
		require.NoError(h.T, err)
	}
	return c
}

// hammer delivers events of every kind until the context ends: of documents that
// exist, that fail, and that never were; ignored and unreadable ones; duplicates.
func (h *env) hammer(ctx context.Context, documents []string, refused *atomic.Int64) {
	var senders sync.WaitGroup
	for sender := range 6 {
		senders.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := update(documents[n%len(documents)])
				switch n % 7 {
				case 1:
					body = fmt.Sprintf(`{"event":"trigger-test","n":%d}`, n)
				case 2:
					body = fmt.Sprintf(`{"event":%d`, n)
				case 3:
					body = strings.Replace(update(fmt.Sprintf("never%d", n%5)), "entry.update", "entry.delete", 1)
				}
				// Every third is a duplicate of another sender's.
				if h.deliver(fmt.Sprintf("msg_%d_%d", sender-sender%3*(n%3/2), n), body) != http.StatusAccepted {
					refused.Add(1)
				}
			}
		})
	}
	senders.Wait()
}

// replayDead does it again when a lock or an answer took a busy machine too long:
// to run a replay again is harmless.
func (h *env) replayDead() {
	h.T.Helper()
	h.eventually("the dead are replayed", func() bool { return dealbox(h.T, h.env, "", "events replay --dead").code == exitDone })
}

// received = processed + pending + dead + ignored + quarantined, at every
// moment, and each number is the exact count over the rows.
func TestLedger_IsExactUnderLoad(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)},
		"JOB_MAX_ATTEMPTS", "1", "RETRY_MAX_RETRIES", "0", "CIRCUIT_BREAKER_FAILURE_THRESHOLD", "1000", "DATABASE_MAX_CONNS", "14")
	h.serve()
	var documents []string
	for i := range 9 {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		require.NoError(t, err)
		documents = append(documents, e.DocumentID)
	}
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: 500, Documents: documents[:3]})
	// One that is left alone is dead from the start: under steady events a failing
	// document is refreshed each time, and may not die while they come.
	require.Equal(t, http.StatusAccepted, h.deliver("msg_dead", update(documents[0])))
	h.eventually("a dead letter", func() bool { return h.MustText("SELECT dead::text FROM inbox_ledger") == "1" })

	ctx, stop := context.WithCancel(t.Context())
	var refused atomic.Int64
	var hammering sync.WaitGroup
	defer func() {
		stop()
		hammering.Wait() // also when the test fails
	}()
	hammering.Go(func() { h.hammer(ctx, documents[1:], &refused) })
	var seen counts
	moments, start := 0, time.Now()
	// For five seconds, and on a busy machine until each number was met.
	enough := func() bool { return time.Since(start) > 5*time.Second && moments > 20 && !slices.Contains(seen[:], 0) }
	for ; !enough() && time.Since(start) < time.Minute; moments++ {
		exact, view, health := h.ledgers()
		require.Equal(t, exact, view, "received, processed, pending, dead, ignored, quarantined")
		require.Equal(t, exact, health, "what /api/v1/health/detailed and /metrics are answered from")
		require.True(t, exact.addsUp(), exact)
		for i := range seen {
			seen[i] = max(seen[i], exact[i])
		}
		switch moments % 10 {
		case 3:
			require.True(t, h.overHTTP().addsUp())
		case 6:
			require.True(t, h.overMetrics().addsUp())
		case 9:
			h.replayDead()
		}
	}
	stop()
	hammering.Wait()
	require.Zero(t, refused.Load())
	require.Greater(t, moments, 20)
	for i, name := range []string{"received", "processed", "pending", "dead", "ignored", "quarantined"} {
		require.Positive(t, seen[i], "%s was never met: the test proves nothing about it", name)
	}

	h.fake.Faults.Clear()
	h.waitIdle()
	h.replayDead()
	h.waitIdle()
	exact, view, health := h.ledgers()
	require.Equal(t, exact, view)
	require.Equal(t, exact, health)
	require.Equal(t, exact, h.overHTTP())
	require.Equal(t, exact, h.overMetrics())
	require.Zero(t, exact[2]+exact[3], "nothing waits and nothing is dead")
	t.Logf("%d moments; at the end %v", moments, exact)
}
