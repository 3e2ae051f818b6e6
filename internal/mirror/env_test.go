package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// env is the mirror with everything around it: Postgres, a Strapi over HTTP, jobs.
type env struct {
	*strapitest.Env

	queue *Queue
	sync  *SyncWorker
}

func newEnv(t *testing.T, options ...strapitest.Option) *env {
	t.Helper()
	h := &env{Env: strapitest.New(t, options...)}
	h.queue = NewQueue(h.Inserter)
	h.sync = NewSyncWorker(h.Pool, h.queue, NewSource(h.Pool, h.Client, h.Breaker, h.Policy, strapitest.Types), h.Forecast, h.Alerts, Config{
		Types: strapitest.Types, MaxAttempts: 3, Logger: slog.New(slog.DiscardHandler),
		Random:        func() float64 { return 0.999 }, // waits are long: none is over by itself
		RecordTimeout: time.Minute,                     // so that a busy machine does not end what a test wants to see written
	})
	return h
}

// enqueue requests a refresh of a document and returns its job.
func (h *env) enqueue(key Key) SyncArgs {
	h.T.Helper()
	var seqs map[Key]int64
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		seqs, err = h.queue.Enqueue(ctx, tx, []Refresh{{Key: key}})
		return err
	})
	return SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seqs[key]}
}

// work runs a job as River would, once.
func (h *env) work(args SyncArgs) error {
	return h.sync.Work(h.T.Context(), &river.Job[SyncArgs]{Args: args})
}

// refresh enqueues and works.
func (h *env) refresh(key Key) error {
	h.T.Helper()
	return h.work(h.enqueue(key))
}

// drain works all refreshes that are due. A snooze is an error to River alone.
func (h *env) drain() {
	h.T.Helper()
	h.Drain(func(key strapitest.Key, seq int64) {
		_ = h.work(SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seq})
	})
}

// fill makes deals in Strapi and mirrors them.
func (h *env) fill(deals int) []Key {
	h.T.Helper()
	var keys []Key
	for i := range deals {
		keys = append(keys, h.Deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i), "deal_value": json.Number("10.5")}))
		require.NoError(h.T, h.refresh(keys[i]))
	}
	return keys
}

func (h *env) dirty() bool {
	h.T.Helper()
	return pgtest.MustGet[bool](h.DB, "SELECT want > done FROM forecast_scope")
}

func (h *env) cleanForecast() {
	h.T.Helper()
	h.MustExec("UPDATE forecast_scope SET done = want, dirty_since = NULL")
}
