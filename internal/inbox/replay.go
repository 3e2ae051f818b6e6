package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/operator"
	"dealbox/internal/pgerr"
	"dealbox/internal/strapi"
)

// replayChunk is how many refreshes one transaction of a replay requests. It
// bounds how long ingest may wait for one of their rows.
const replayChunk = 500

// Replayer requests a refresh of the documents of stored events. The mirror is
// made from Strapi and not from the event, so a replay is no more than that:
// doing it twice, or at any time, changes nothing that is right.
type Replayer struct {
	pool  *pgxpool.Pool
	queue *mirror.Queue
	types map[string]strapi.ContentType
}

// NewReplayer makes a Replayer. Types are the content types whose entries are mirrored.
func NewReplayer(pool *pgxpool.Pool, queue *mirror.Queue, types []strapi.ContentType) *Replayer {
	r := &Replayer{pool: pool, queue: queue, types: map[string]strapi.ContentType{}}
	for _, t := range types {
		r.types[t.UID] = t
	}
	return r
}

// Replayed says what a replay did, or would do.
type Replayed struct {
	DryRun bool `json:"dry_run"`
	// Events were chosen. NothingToReplay of them name no document that is mirrored.
	Events          int64 `json:"events"`
	NothingToReplay int64 `json:"nothing_to_replay"`
	// Documents is how many documents are refreshed, each once. A dead one is alive again.
	Documents int64 `json:"documents"`
	// WithoutEvent of them wait or are dead, and no event that waits names them.
	WithoutEvent int64 `json:"documents_without_event"`
}

// One replays one event for an actor, as package operator has it: ErrNoEvent when there is none. An event whose document
// is not mirrored has nothing to replay, which is an answer and not an error.
func (r *Replayer) One(ctx context.Context, id uuid.UUID, actor string, dryRun bool) (Replayed, error) {
	row, err := get(ctx, r.pool, id)
	if err != nil {
		return Replayed{}, err
	}
	p := plan{documents: map[mirror.Key]bool{}}
	if row.Seq != nil {
		p.add(mirror.Key{UID: deref(row.UID), DocumentID: deref(row.DocumentID), Locale: deref(row.Locale)}, 1)
	} else {
		r.addAside(&p, row.Body)
	}
	return r.run(ctx, p, actor, map[string]any{"event_id": id.String()}, dryRun)
}

// All replays the events that the filter chooses, and, unless it names an event, the
// documents that are pending or dead without one. Limit and Cursor do not count.
// A filter that cannot be used gives a *paging.FieldError.
func (r *Replayer) All(ctx context.Context, f Filter, actor string, dryRun bool) (Replayed, error) {
	f.Limit, f.Cursor = 0, ""
	args, err := f.args()
	if err != nil {
		return Replayed{}, err
	}
	// Chosen in one snapshot: a replay changes the status that it chooses by.
	var p plan
	err = pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		p, err = r.choose(ctx, tx, f, args)
		return err
	})
	if err != nil {
		return Replayed{}, fmt.Errorf("choose the events to replay: %w", err)
	}
	if p.events == 0 && len(p.documents) == 0 {
		if err := f.checkNames(ctx, r.pool); err != nil {
			return Replayed{}, err
		}
	}
	return r.run(ctx, p, actor, f.details(), dryRun)
}

// plan is what a replay is to do.
type plan struct {
	events    int64
	nothing   int64
	alone     int64 // documents without an event
	documents map[mirror.Key]bool
}

func (p *plan) add(key mirror.Key, events int64) {
	p.events += events
	p.documents[key] = true
}

func (r *Replayer) choose(ctx context.Context, db dbsqlc.DBTX, f Filter, args pgx.NamedArgs) (plan, error) {
	p := plan{documents: map[mirror.Key]bool{}}
	if sql := f.documentsSQL(); sql != "" {
		err := each(ctx, db, sql, args, func(row pgx.Rows) error {
			var key mirror.Key
			var events int64
			err := row.Scan(&key.UID, &key.DocumentID, &key.Locale, &events)
			p.add(key, events)
			return err
		})
		if err != nil {
			return p, err
		}
	}
	if f.Event == "" {
		err := each(ctx, db, documentsWithoutEvent, args, func(row pgx.Rows) error {
			var key mirror.Key
			var events int64
			err := row.Scan(&key.UID, &key.DocumentID, &key.Locale, &events)
			if !p.documents[key] {
				p.alone++
				p.add(key, events)
			}
			return err
		})
		if err != nil {
			return p, err
		}
	}
	if f.only(StatusProcessed, StatusPending, StatusDead) {
		return p, nil
	}
	err := each(ctx, db, asideBodies, args, func(row pgx.Rows) error {
		var body []byte
		err := row.Scan(&body)
		r.addAside(&p, body)
		return err
	})
	return p, err
}

// each hands on one row after the other: the bodies of all would be too many to hold.
func each(ctx context.Context, db dbsqlc.DBTX, sql string, args pgx.NamedArgs, take func(pgx.Rows) error) error {
	rows, err := db.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// addAside reads an ignored or quarantined event again, since the settings or
// this program may have changed. The stored row stays as it is; if its envelope
// names a document of a configured type, that document is refreshed.
func (r *Replayer) addAside(p *plan, body []byte) {
	in := classify(Delivery{Body: body}, r.types)
	if _, ours := r.types[in.env.UID]; !ours || in.env.DocumentID == "" || in.action == ActionQuarantined {
		p.events++
		p.nothing++
		return
	}
	p.add(in.document(), 1)
}

// run requests the refreshes in chunks, each in its own transaction. After an error
// those of the chunks before stay requested; running the replay again is harmless.
func (r *Replayer) run(ctx context.Context, p plan, actor string, chosen map[string]any, dryRun bool) (Replayed, error) {
	done := Replayed{DryRun: dryRun, Events: p.events, NothingToReplay: p.nothing, WithoutEvent: p.alone}
	if dryRun {
		done.Documents = int64(len(p.documents))
		return done, nil
	}
	// Before the first chunk: a replay that fails half-way was somebody's, too.
	chosen["events"], chosen["documents"] = p.events, len(p.documents)
	if err := operator.Record(ctx, r.pool, actor, operator.Replay, chosen); err != nil {
		return done, err
	}
	refreshes := make([]mirror.Refresh, 0, len(p.documents))
	for key := range p.documents {
		refreshes = append(refreshes, mirror.Refresh{Key: key}) // Events 0: nothing new was stored
	}
	slices.SortFunc(refreshes, func(a, b mirror.Refresh) int { return compareKeys(a.Key, b.Key) })
	for chunk := range slices.Chunk(refreshes, replayChunk) {
		if err := r.enqueue(ctx, chunk); err != nil {
			return done, fmt.Errorf("replay (%d of %d documents will be refreshed): %w", done.Documents, len(refreshes), err)
		}
		done.Documents += int64(len(chunk))
	}
	return done, nil
}

func compareKeys(a, b mirror.Key) int {
	if c := strings.Compare(a.UID, b.UID); c != 0 {
		return c
	}
	if c := strings.Compare(a.DocumentID, b.DocumentID); c != 0 {
		return c
	}
	return strings.Compare(a.Locale, b.Locale)
}

func (r *Replayer) enqueue(ctx context.Context, refreshes []mirror.Refresh) (err error) {
	for range conflictTries {
		err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			_, err := r.queue.Enqueue(ctx, tx, refreshes)
			return err
		})
		if !pgerr.IsConflict(err) {
			return err
		}
	}
	return err
}
