package simulation

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// The simulated River: the scheduler works the jobs itself, so that it decides
// which runs when, and which is rescued.

// inserter is what the stages insert their jobs with: the memory's, or a real
// River client over Postgres.
type inserter interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	InsertManyTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error)
}

// jobTable is how the scheduler reads and works the jobs.
type jobTable interface {
	// live are the jobs that are not over, by id.
	live() ([]jobRow, error)
	// move changes a job's state, if it is from.
	move(id int64, from, to string, due time.Time) error
}

type jobRow struct {
	ID    int64
	Args  river.JobArgs
	State string // available (also for scheduled and retryable), running, completed
	Due   time.Time
}

func (j jobRow) live() bool { return j.State != "completed" }

type insertion struct {
	args   river.JobArgs
	unique bool
}

// memoryInserter inserts by a statement, so that it stops at the gate as River's do.
type memoryInserter struct{}

func (memoryInserter) insert(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) error {
	all := make([]insertion, len(params))
	for i, p := range params {
		all[i] = insertion{p.Args, p.InsertOpts != nil && p.InsertOpts.UniqueOpts.ByArgs}
	}
	_, err := tx.Exec(ctx, "-- name: JobInsert :exec", all)
	return err
}

func (m memoryInserter) InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	return nil, m.insert(ctx, tx, []river.InsertManyParams{{Args: args, InsertOpts: opts}})
}

func (m memoryInserter) InsertManyTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	return nil, m.insert(ctx, tx, params)
}

func (m memoryInserter) InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error) {
	return len(params), m.insert(ctx, tx, params)
}

func jobInsert(tx *memoryTx, all []insertion) int64 {
	for _, i := range all {
		if i.unique && tx.anyJob(func(j jobRow) bool { return j.live() && j.Args == i.args }) {
			continue
		}
		tx.insertJob(i.args)
	}
	return int64(len(all))
}

func (tx *memoryTx) insertJob(args river.JobArgs) {
	id := tx.db.next()
	tx.db.jobs.put(tx, id, jobRow{ID: id, Args: args, State: "available", Due: time.Now().Add(-time.Second)})
}

func (tx *memoryTx) anyJob(fits func(jobRow) bool) bool {
	for _, j := range serial(&tx.db.jobs, tx) {
		if fits(j) {
			return true
		}
	}
	return false
}

// jobComplete ends a job in the transaction of what it did.
func jobComplete(tx *memoryTx, id int64) int64 {
	tx.db.jobs.update(tx, id, func(j jobRow) bool { return j.State == "running" }, func(j *jobRow) { j.State = "completed" })
	return 1
}

const completeJob = `-- name: JobComplete :exec
UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1 AND state = 'running'`

func (db *memory) live() (all []jobRow, _ error) {
	for _, j := range db.jobs.rows {
		if j.live() {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b jobRow) int { return int(a.ID - b.ID) })
	return all, nil
}

func (db *memory) move(id int64, from, to string, due time.Time) error {
	if j := db.jobs.rows[id]; j.State == from {
		j.State, j.Due = to, due
		db.jobs.rows[id] = j
	}
	return nil
}
