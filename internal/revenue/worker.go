package revenue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"dealbox/internal/dbsqlc"
)

// maxRetryDelay caps the time between two attempts: while nothing is computed
// the forecast is stale.
const maxRetryDelay = 30 * time.Second

// RecomputeWorker computes the forecast until it has caught up with every mark.
// Give its queue one slot a replica: more would only compute the same twice.
type RecomputeWorker struct {
	river.WorkerDefaults[RecomputeArgs]

	forecast *Forecast
	pool     store
	logger   *slog.Logger
}

// NewRecomputeWorker makes the worker. It opens its own transactions on pool.
func NewRecomputeWorker(forecast *Forecast, pool store, logger *slog.Logger) *RecomputeWorker {
	return &RecomputeWorker{forecast: forecast, pool: pool, logger: logger}
}

// NextRetry implements river.Worker. It counts 2, 4, 8 … up to 30 seconds;
// River's own policy would reach hours.
func (*RecomputeWorker) NextRetry(job *river.Job[RecomputeArgs]) time.Time {
	delay := time.Second << min(max(job.Attempt, 0), 5)
	return time.Now().Add(min(delay, maxRetryDelay))
}

// Work implements river.Worker.
func (w *RecomputeWorker) Work(ctx context.Context, job *river.Job[RecomputeArgs]) error {
	return w.Recompute(ctx, func(tx pgx.Tx) error {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// Recompute computes the forecast, unless nothing is wanted, and stores it in one
// transaction with what complete does. The order of its steps is what makes it
// right: want is read and that statement is over before the mirror is read, so the
// result holds at least every change that was marked up to want. A change that
// comes later raises want once more and leads to another run. A job that runs
// twice, or finds that another did its work, changes nothing.
func (w *RecomputeWorker) Recompute(ctx context.Context, complete func(pgx.Tx) error) error {
	seen, err := w.due(ctx)
	if err != nil {
		return err
	}
	if seen.Done >= seen.Want {
		return nil
	}
	snapshot, err := w.forecast.computeMirror(ctx, w.pool)
	if err != nil {
		return fmt.Errorf("compute the forecast: %w", err)
	}
	if snapshot.Impossible > 0 {
		w.logger.WarnContext(ctx, "amounts of 10^24 or more are left out of the forecast: correct them in Strapi",
			slog.Int64("rows", snapshot.Impossible))
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := w.forecast.record(ctx, tx, seen, snapshot); err != nil {
			return err
		}
		return complete(tx)
	})
	if err != nil {
		return fmt.Errorf("store the forecast: %w", err)
	}
	return nil
}

// due waits until MinInterval has passed since the last recompute of any
// replica, by the database's clock, and then returns what is wanted. The wait is in
// here because River looks at scheduled jobs only every five seconds. What is
// marked during the wait is served by the same run.
func (w *RecomputeWorker) due(ctx context.Context) (dbsqlc.ForecastScopeRow, error) {
	for {
		scope, err := dbsqlc.New().ForecastScope(ctx, w.pool, scopeBase)
		if err != nil {
			return scope, fmt.Errorf("read how far the forecast is behind: %w", err)
		}
		wait := w.forecast.wait(scope)
		if wait <= 0 || scope.Done >= scope.Want {
			return scope, nil
		}
		select {
		case <-ctx.Done():
			return scope, fmt.Errorf("wait for the next recompute: %w", ctx.Err())
		case <-time.After(wait):
		}
	}
}

// wait is never longer than MinInterval, even if the database's clock was set back.
func (f *Forecast) wait(scope dbsqlc.ForecastScopeRow) time.Duration {
	if scope.ComputedAt == nil {
		return 0
	}
	return min(f.config.MinInterval, f.config.MinInterval-scope.ReadAt.Sub(*scope.ComputedAt))
}

// record stores the snapshot for the marks that seen counts, unless
// another replica got at least that far meanwhile. If more is wanted by now it
// inserts the next job.
func (f *Forecast) record(ctx context.Context, tx pgx.Tx, seen dbsqlc.ForecastScopeRow, snapshot Snapshot) error {
	now, err := dbsqlc.New().ForecastAdvance(ctx, tx, dbsqlc.ForecastAdvanceParams{
		Scope: scopeBase, Done: seen.Want, ReadAt: seen.ReadAt,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("advance the forecast: %w", err)
	}
	if err := insertSnapshot(ctx, tx, snapshot, now.ComputedAt); err != nil {
		return err
	}
	if now.Want > seen.Want {
		if err := f.insertJob(ctx, tx); err != nil {
			return err
		}
	}
	return f.watchSwing(ctx, tx, now.ComputedAt)
}
