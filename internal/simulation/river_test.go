package simulation

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"dealbox/internal/mirror"
)

// The simulated River: the scheduler works the jobs itself, so that it decides
// which runs when, and which is rescued.

// inserter is what the stages insert their jobs with: a River client.
type inserter interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	InsertManyTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error)
}

type jobRow struct {
	ID    int64
	Args  river.JobArgs
	State string // available (also for scheduled and retryable), running
	Due   time.Time
}

// uniqueInserter makes syncs unique by their document, as River can: a mutant.
type uniqueInserter struct {
	inserter

	opts river.InsertOpts
}

// uniqueSync is a mirror.SyncArgs whose Seq does not count.
type uniqueSync struct {
	UID        string `json:"uid"              river:"unique"`
	DocumentID string `json:"document_id"      river:"unique"`
	Locale     string `json:"locale,omitempty" river:"unique"`
	Seq        int64  `json:"seq"`
}

func (uniqueSync) Kind() string { return mirror.SyncArgs{}.Kind() }

func (u uniqueInserter) InsertManyTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	for i, p := range params {
		if args, ok := p.Args.(mirror.SyncArgs); ok {
			params[i] = river.InsertManyParams{Args: uniqueSync(args), InsertOpts: &u.opts}
		}
	}
	return u.inserter.InsertManyTx(ctx, tx, params)
}

// InsertManyFastTx is River's COPY, which cannot skip a job that is there.
func (u uniqueInserter) InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error) {
	inserted, err := u.InsertManyTx(ctx, tx, params)
	return len(inserted), err
}

const completeJob = `-- name: JobComplete :exec
UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1 AND state = 'running'`
