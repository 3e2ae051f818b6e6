// Package reconcile compares the mirror with what Strapi lists, and requests a
// refresh of each document that differs. It never writes a mirrored row.
package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
)

// Extent of a reconciliation.
type Extent string

// A delta lists what Strapi updated since the last run. A full run compares
// every document: only that finds deletions, unpublished documents, relations
// that moved silently, and edits in SQL.
const (
	Delta Extent = "delta"
	Full  Extent = "full"
)

// Trigger is why a reconciliation runs.
type Trigger string

// The triggers.
const (
	TriggerStart           Trigger = "start"
	TriggerSchedule        Trigger = "schedule"
	TriggerDemand          Trigger = "demand"
	TriggerAfterRefusal    Trigger = "after_refusal"
	TriggerAfterQuarantine Trigger = "after_quarantine"
)

// Request is what Queue.Request takes.
type Request struct {
	Extent  Extent
	Trigger Trigger
	// Actor is who requests it; "" is Dealbox itself.
	Actor string
	// AllowDeletes lifts the guards: the operator says that the deletions which they hold
	// back are right (for an hour), and so are the values that are empty now. Only for a
	// full run.
	AllowDeletes bool
	// Types limits the run to these content types, by their uids; nil is all.
	Types []string
}

// Queue is the door of reconciliation.
type Queue struct{ jobs inserter }

// NewQueue makes the door. The client only inserts.
func NewQueue(client inserter) *Queue { return &Queue{jobs: client} }

// Request requests a reconciliation in tx and returns the run's id. A run of the
// same extent that waits already is enough; its id is the one returned.
func (q *Queue) Request(ctx context.Context, tx pgx.Tx, r Request) (int64, error) {
	if r.Actor == "" {
		r.Actor = "dealbox"
	}
	id, err := dbsqlc.New().ReconciliationRequest(ctx, tx, dbsqlc.ReconciliationRequestParams{
		Kind: string(r.Extent), Trigger: string(r.Trigger), Actor: r.Actor,
		AllowDeletes: r.AllowDeletes && r.Extent == Full, Types: r.Types,
	})
	if err != nil {
		return 0, fmt.Errorf("request a reconciliation: %w", err)
	}
	return id, q.continueRun(ctx, tx)
}

// continueRun inserts the job that works on whatever run is under way or waits.
func (q *Queue) continueRun(ctx context.Context, tx pgx.Tx) error {
	if _, err := q.jobs.InsertTx(ctx, tx, Args{Continue: true}, nil); err != nil {
		return fmt.Errorf("insert the reconciliation job: %w", err)
	}
	return nil
}

// Args is the job that does whatever is due. It names no run: any replica
// continues the one that is under way.
type Args struct {
	// Continue: the job does only the next slice and leaves the checks of each minute
	// to the periodic job.
	Continue bool `json:"continue,omitempty"`
}

// Kind implements river.JobArgs.
func (Args) Kind() string { return "reconcile" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (Args) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueMaintenance}
}

// tick is how often a job looks for what is due. River keeps periodic jobs
// in memory: an hourly one would restart its hour with every deploy.
const tick = time.Minute

// Schedule returns the periodic job, which runs every minute and at start.
func Schedule() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(tick),
		func() (river.JobArgs, *river.InsertOpts) { return Args{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true})
}
