package revenue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
)

// scopeBase is the forecast of all deals, the only one there is.
const scopeBase = "base"

// Config of the forecast.
type Config struct {
	// Currency is that of deals and billings that name none, and of queries that name none.
	Currency string
	// Locale is Strapi's default one: where a document has several, it counts in this
	// one. "" prefers none.
	Locale string
	// HorizonMonths is the length of the window when a query gives no end; default 12.
	HorizonMonths int
	// Location decides what the current month is; default UTC.
	Location *time.Location
	// MinInterval is the least time between two recomputes, over all replicas;
	// default 500 ms. A change may take this long to show in the forecast, and
	// under constant traffic it is how much of a core the forecast leaves free.
	MinInterval time.Duration
	// Alerts gets a warning when the forecast of Currency differs from that of an hour ago by
	// more than SwingPercent. Nil or 0: none.
	Alerts       *alerting.Alerts
	SwingPercent int
}

// Forecast is the door of this stage and the reader of its results.
type Forecast struct {
	config Config
	jobs   inserter
}

// New makes the forecast. The client only inserts.
func New(config Config, client inserter) *Forecast {
	config.Currency = currencyCode(config.Currency, "")
	if config.HorizonMonths <= 0 {
		config.HorizonMonths = 12
	}
	if config.Location == nil {
		config.Location = time.UTC
	}
	if config.MinInterval <= 0 {
		config.MinInterval = 500 * time.Millisecond
	}
	return &Forecast{config: config, jobs: client}
}

// RecomputeArgs is the job that computes the forecast again.
type RecomputeArgs struct{}

// Kind implements river.JobArgs.
func (RecomputeArgs) Kind() string { return "forecast_recompute" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (RecomputeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueForecast}
}

// MarkDirty requests a recompute that sees what tx wrote. It locks one row that
// all syncs share until tx ends: make it the last statement of tx. Many marks
// make one job: the job exists from the first mark until a recompute has caught
// up with all of them.
func (f *Forecast) MarkDirty(ctx context.Context, tx pgx.Tx) error {
	wasClean, err := dbsqlc.New().ForecastMark(ctx, tx, scopeBase)
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.New("table forecast_scope has no row 'base': insert it, the migration did")
	}
	if err != nil {
		return fmt.Errorf("mark the forecast dirty: %w", err)
	}
	if !wasClean {
		return nil
	}
	return f.insertJob(ctx, tx)
}

// Request requests a recompute on behalf of an operator. It is MarkDirty.
func (f *Forecast) Request(ctx context.Context, tx pgx.Tx) error { return f.MarkDirty(ctx, tx) }

// RequeueOrphans inserts a job when the forecast waits for long and its job is gone:
// River's leader can discard one, see package jobs.
func (f *Forecast) RequeueOrphans(ctx context.Context, tx pgx.Tx) error {
	orphaned, err := dbsqlc.New().ForecastOrphaned(ctx, tx, scopeBase)
	if err != nil || !orphaned {
		return err
	}
	if _, err := f.jobs.InsertTx(ctx, tx, RecomputeArgs{}, jobs.LiveOnly()); err != nil {
		return fmt.Errorf("insert the forecast job: %w", err)
	}
	return nil
}

func (f *Forecast) insertJob(ctx context.Context, tx pgx.Tx) error {
	if _, err := f.jobs.InsertTx(ctx, tx, RecomputeArgs{}, nil); err != nil {
		return fmt.Errorf("insert the forecast job: %w", err)
	}
	return nil
}
