package mirror

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
)

// localesDelay is how long after a change in one locale the others are refreshed.
// Strapi copies the attributes that all locales of a document share after the
// save was committed and its webhook sent (0.3 s later on a busy machine), and
// sends no webhook for the others. Where it takes longer a delta finds them: the
// copy moves their updatedAt.
const localesDelay = 5 * time.Second

// refreshOtherLocales inserts that job where a document that changed has other locales.
func (q *Queue) refreshOtherLocales(ctx context.Context, tx pgx.Tx, changed Key) error {
	if changed.Locale == "" {
		return nil
	}
	others, err := otherLocales(ctx, tx, changed)
	if err != nil || len(others) == 0 {
		return err
	}
	_, err = q.jobs.InsertTx(ctx, tx, LocalesArgs(changed), &river.InsertOpts{ScheduledAt: time.Now().Add(localesDelay)})
	if err != nil {
		return fmt.Errorf("insert the job for the document's other locales: %w", err)
	}
	return nil
}

// LocalesArgs is the job that requests a refresh of a document's other locales. It
// requests them when it runs and not when it is inserted: a sync that begins in
// between would cover them.
type LocalesArgs struct {
	UID        string `json:"uid"`
	DocumentID string `json:"document_id"`
	// Locale is the one that changed.
	Locale string `json:"locale"`
}

// Kind implements river.JobArgs.
func (LocalesArgs) Kind() string { return "mirror_locales" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (LocalesArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: jobs.QueueSync} }

// LocalesWorker works LocalesArgs.
type LocalesWorker struct {
	river.WorkerDefaults[LocalesArgs]

	pool  store
	queue *Queue
}

// NewLocalesWorker makes the worker.
func NewLocalesWorker(sync *SyncWorker) *LocalesWorker {
	return &LocalesWorker{pool: sync.pool, queue: sync.queue}
}

// Work implements river.Worker. The chain ends: a sync that changes nothing inserts no job.
func (w *LocalesWorker) Work(ctx context.Context, job *river.Job[LocalesArgs]) error {
	changed := Key(job.Args)
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		others, err := otherLocales(ctx, tx, changed)
		if err != nil {
			return err
		}
		_, err = w.queue.Enqueue(ctx, tx, others)
		return err
	})
}

// otherLocales returns a refresh for each locale in which the document is known,
// except the key's own.
func otherLocales(ctx context.Context, tx pgx.Tx, key Key) ([]Refresh, error) {
	known, err := dbsqlc.New().EntityOfDocument(ctx, tx, dbsqlc.EntityOfDocumentParams{UID: key.UID, DocumentID: key.DocumentID})
	if err != nil {
		return nil, fmt.Errorf("find the document's locales: %w", err)
	}
	var others []Refresh
	for _, locale := range known {
		if locale != key.Locale {
			others = append(others, Refresh{Key: Key{key.UID, key.DocumentID, locale}})
		}
	}
	return others, nil
}
