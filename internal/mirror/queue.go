// Package mirror keeps deals and billings in Postgres equal to what Strapi's
// REST API returns. Queue.Enqueue requests the refresh of a document and SyncWorker
// does it, by the protocol that ARCHITECTURE.md describes.
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

// String returns uid/documentId, and the locale if any: alerts and logs name a
// document so.
func (k Key) String() string {
	if k.Locale == "" {
		return k.UID + "/" + k.DocumentID
	}
	return k.UID + "/" + k.DocumentID + "/" + k.Locale
}

// Refresh is a request to bring one document in step. Events is how many stored
// events request it: 0 when it is not a webhook that does.
type Refresh struct {
	Key

	Events int64
}

// SyncArgs is the job of one refresh. It holds keys only: what to write is always
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

// Enqueue requests a refresh of each of the documents, which must be
// distinct, and inserts a job for each, all in tx. It returns the seq that each
// document's sync must reach. It takes the documents' row locks in key order; a
// transaction that holds one of them already must have locked all of them.
func (q *Queue) Enqueue(ctx context.Context, tx pgx.Tx, refreshes []Refresh) (map[Key]int64, error) {
	if len(refreshes) == 0 {
		return nil, nil
	}
	uids, ids, locales, events := columns(refreshes)
	rows, err := dbsqlc.New().EntityBump(ctx, tx, dbsqlc.EntityBumpParams{
		Uids: uids, DocumentIds: ids, Locales: locales, Events: events,
	})
	if err != nil {
		return nil, fmt.Errorf("request a refresh of %d documents: %w", len(refreshes), err)
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

// EnqueueNamed requests a refresh of documents that a person names by documentId, each in all
// locales in which it is known. One that Dealbox has never seen is requested of each of the
// types. It returns the seq that each document's sync must reach.
func (q *Queue) EnqueueNamed(ctx context.Context, tx pgx.Tx, uids, documentIDs []string) (map[Key]int64, error) {
	known, err := dbsqlc.New().EntityNamed(ctx, tx, dbsqlc.EntityNamedParams{Uids: uids, DocumentIds: documentIDs})
	if err != nil {
		return nil, fmt.Errorf("find %d documents: %w", len(documentIDs), err)
	}
	var refreshes []Refresh
	seen := map[string]bool{}
	for _, k := range known {
		refreshes = append(refreshes, Refresh{Key: Key{k.UID, k.DocumentID, k.Locale}})
		seen[k.DocumentID] = true
	}
	for _, id := range documentIDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, uid := range uids {
			refreshes = append(refreshes, Refresh{Key: Key{UID: uid, DocumentID: id}})
		}
	}
	return q.Enqueue(ctx, tx, refreshes)
}

// Uncount takes events back from documents that tx has bumped: they turned out
// to be duplicates. The refresh stays requested.
func Uncount(ctx context.Context, tx pgx.Tx, refreshes []Refresh) error {
	uids, ids, locales, events := columns(refreshes)
	err := dbsqlc.New().EntityUncount(ctx, tx, dbsqlc.EntityUncountParams{
		Uids: uids, DocumentIds: ids, Locales: locales, Events: events,
	})
	if err != nil {
		return fmt.Errorf("take back duplicate events: %w", err)
	}
	return nil
}

// RequeueOrphans inserts a job for each document that has waited for minutes and has
// none: River's leader can discard one, see package jobs.
func (q *Queue) RequeueOrphans(ctx context.Context, tx pgx.Tx) error {
	orphans, err := dbsqlc.New().EntityOrphans(ctx, tx)
	if err != nil {
		return fmt.Errorf("find documents without a job: %w", err)
	}
	if len(orphans) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(orphans))
	for i, o := range orphans {
		params[i] = river.InsertManyParams{
			Args:       SyncArgs{UID: o.UID, DocumentID: o.DocumentID, Locale: o.Locale, Seq: o.WantSeq},
			InsertOpts: jobs.LiveOnly(),
		}
	}
	if _, err := q.jobs.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("insert %d sync jobs: %w", len(params), err)
	}
	return nil
}

// wakeAtOnce is how many jobs Wake makes due in one statement.
const wakeAtOnce = 1000

// Wake makes the jobs of a type due that wait for Strapi, oldest first: it answers
// again. A job whose document waits after a failure of its own goes on waiting.
func (q *Queue) Wake(ctx context.Context, db dbsqlc.DBTX, uid string) error {
	for {
		woken, err := dbsqlc.New().EntityWake(ctx, db, dbsqlc.EntityWakeParams{UID: uid, MaxRows: wakeAtOnce})
		if err != nil {
			return fmt.Errorf("make the waiting sync jobs of %s due: %w", uid, err)
		}
		if woken < wakeAtOnce {
			return nil
		}
	}
}

func columns(refreshes []Refresh) (uids, ids, locales []string, events []int64) {
	for _, r := range refreshes {
		uids = append(uids, r.UID)
		ids = append(ids, r.DocumentID)
		locales = append(locales, r.Locale)
		events = append(events, r.Events)
	}
	return uids, ids, locales, events
}
