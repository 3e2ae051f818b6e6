package revenue

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"dealbox/internal/dbsqlc"
)

// store is what the forecast needs of the database: *pgxpool.Pool has it. The
// simulation puts its own connection here.
type store interface {
	dbsqlc.DBTX
	Begin(ctx context.Context) (pgx.Tx, error)
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// inserter is what the forecast needs of River: *jobs.Client has it.
type inserter interface {
	InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}
