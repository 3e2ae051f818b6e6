package reconcile

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// env is reconciliation with everything around it: Postgres, the mirror, a Strapi
// over HTTP, jobs.
type env struct {
	*strapitest.Env

	queue  *Queue
	mirror *mirror.Queue
	source *mirror.Source
	sync   *mirror.SyncWorker
}

func newEnv(t *testing.T, options ...strapitest.Option) *env {
	t.Helper()
	h := &env{Env: strapitest.New(t, options...)}
	h.queue, h.mirror = NewQueue(h.Inserter), mirror.NewQueue(h.Inserter)
	h.source = mirror.NewSource(h.Pool, h.Client, h.Breaker, h.Policy, strapitest.Types)
	h.sync = mirror.NewSyncWorker(h.Pool, h.mirror, h.source, h.Forecast, h.Alerts, mirror.Config{
		Types: strapitest.Types, MaxAttempts: 3, Logger: slog.New(slog.DiscardHandler),
		Random:        func() float64 { return 0.999 }, // waits are long: none is over by itself
		RecordTimeout: time.Minute,                     // so that a busy machine does not end what a test wants to see written
	})
	return h
}

// enqueue requests a refresh of a document and returns its job.
func (h *env) enqueue(key mirror.Key) mirror.SyncArgs {
	h.T.Helper()
	var seqs map[mirror.Key]int64
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		seqs, err = h.mirror.Enqueue(ctx, tx, []mirror.Refresh{{Key: key}})
		return err
	})
	return mirror.SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seqs[key]}
}

// work runs a job as River would, once.
func (h *env) work(args mirror.SyncArgs) error {
	return h.sync.Work(h.T.Context(), &river.Job[mirror.SyncArgs]{Args: args})
}

// refresh enqueues and works.
func (h *env) refresh(key mirror.Key) error {
	h.T.Helper()
	return h.work(h.enqueue(key))
}

// drain works all refreshes that are due. A snooze is an error to River alone.
func (h *env) drain() {
	h.T.Helper()
	h.Drain(func(key strapitest.Key, seq int64) {
		_ = h.work(mirror.SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seq})
	})
}
