package reconcile

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"dealbox/internal/dbsqlc"
)

// store is what a Worker needs of the database: *pgxpool.Pool has it.
type store interface {
	dbsqlc.DBTX
	Begin(ctx context.Context) (pgx.Tx, error)
}

// inserter is what the door needs of River: *jobs.Client has it.
type inserter interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}
