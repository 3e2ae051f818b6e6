// Package mirror keeps deals and billings in Postgres equal to what Strapi's
// REST API says. A look at a document is asked for through Queue.Enqueue and
// done by SyncWorker, by the protocol that ARCHITECTURE.md describes.
package mirror

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
)

// Key names a document of Strapi. Locale is empty where the type has none.
type Key struct{ UID, DocumentID, Locale string }

// String is how alerts and logs name a document: uid/documentId, and the locale if any.
func (k Key) String() string {
	if k.Locale == "" {
		return k.UID + "/" + k.DocumentID
	}
	return k.UID + "/" + k.DocumentID + "/" + k.Locale
}

// Refresh asks to bring one document in step. Events is how many stored events
// ask for it: 0 when it is not a webhook that asks.
type Refresh struct {
	Key

	Events int64
}

// SyncArgs is the job of one look. It holds keys only: what to write is always
// read from Strapi when the job runs.
type SyncArgs struct {
	UID        string `json:"uid"`
	DocumentID string `json:"document_id"`
	Locale     string `json:"locale,omitempty"`
	Seq        int64  `json:"seq"`
}

// Kind implements river.JobArgs.
func (SyncArgs) Kind() string { return "mirror_sync" }

// InsertOpts implements river.JobArgsWithInsertOpts. The jobs are deliberately
// not unique: River's uniqueness as a coalescer lost refreshes in a model check.
func (SyncArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: jobs.QueueSync} }

func (a SyncArgs) key() Key { return Key{a.UID, a.DocumentID, a.Locale} }

// Queue is the door of the mirror.
type Queue struct{ jobs inserter }

// NewQueue makes the door. The client only inserts.
func NewQueue(client inserter) *Queue { return &Queue{jobs: client} }

// Enqueue asks for one more look at each of the documents, which must be
// distinct, and inserts a job for each, all in tx. It returns the seq that each
// document's sync must reach. It takes the documents' row locks in key order; a
// transaction that holds one of them already must have locked all of them.
func (q *Queue) Enqueue(ctx context.Context, tx pgx.Tx, looks []Refresh) (map[Key]int64, error) {
	if len(looks) == 0 {
		return nil, nil
	}
	uids, ids, locales, events := columns(looks)
	rows, err := dbsqlc.New().EntityBump(ctx, tx, dbsqlc.EntityBumpParams{
		Uids: uids, DocumentIds: ids, Locales: locales, Events: events,
	})
	if err != nil {
		return nil, fmt.Errorf("ask for a look at %d documents: %w", len(looks), err)
	}
	seqs := make(map[Key]int64, len(rows))
	params := make([]river.InsertManyParams, len(rows))
	for i, row := range rows {
		seqs[Key{row.UID, row.DocumentID, row.Locale}] = row.WantSeq
		params[i].Args = SyncArgs{UID: row.UID, DocumentID: row.DocumentID, Locale: row.Locale, Seq: row.WantSeq}
	}
	if _, err := q.jobs.InsertManyFastTx(ctx, tx, params); err != nil {
		return nil, fmt.Errorf("insert %d sync jobs: %w", len(params), err)
	}
	return seqs, nil
}

// Uncount takes events back from documents that tx has bumped: they turned out
// to be duplicates. The look itself stays asked for.
func Uncount(ctx context.Context, tx pgx.Tx, looks []Refresh) error {
	uids, ids, locales, events := columns(looks)
	err := dbsqlc.New().EntityUncount(ctx, tx, dbsqlc.EntityUncountParams{
		Uids: uids, DocumentIds: ids, Locales: locales, Events: events,
	})
	if err != nil {
		return fmt.Errorf("take back duplicate events: %w", err)
	}
	return nil
}

func columns(looks []Refresh) (uids, ids, locales []string, events []int64) {
	for _, l := range looks {
		uids = append(uids, l.UID)
		ids = append(ids, l.DocumentID)
		locales = append(locales, l.Locale)
		events = append(events, l.Events)
	}
	return uids, ids, locales, events
}
