package mirror

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"dealbox/internal/dbsqlc"
)

// store is what the mirror needs of the database: *pgxpool.Pool has it. Nothing
// is abstracted: the statements of db/queries are the interface. The simulation
// puts its own connection here.
type store interface {
	dbsqlc.DBTX
	Begin(ctx context.Context) (pgx.Tx, error)
}

// inserter is what the mirror needs of River: *jobs.Client has it. Every job is
// inserted in the transaction that makes it necessary.
type inserter interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	InsertManyTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error)
}
