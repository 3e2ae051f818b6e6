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
	// AllowDeletes lifts the guards for this run: the operator says that the deletions which
	// it finds, or which are held back already, are right, and so are the values that are
	// empty now. Only for a full run.
	AllowDeletes bool
	// Types limits the run to these content types, by their uids; none is all.
	Types []string
	// Since has a delta list at least what Strapi updated from this time on; zero is from
	// where the last comparison of each type began.
	Since time.Time
}

// Queue is the door of reconciliation.
type Queue struct{ jobs inserter }

// NewQueue makes the door. The client only inserts.
func NewQueue(client inserter) *Queue { return &Queue{jobs: client} }

// Request requests a reconciliation in tx and returns the run's id. A run of the
// same extent that waits already is enough; its id is the one returned. That one has its
// job, so Dealbox inserts no other: webhooks can request a run many times a second.
func (q *Queue) Request(ctx context.Context, tx pgx.Tx, r Request) (int64, error) {
	if r.Actor == "" {
		r.Actor = "dealbox"
	}
	p := dbsqlc.ReconciliationRequestParams{
		Kind: string(r.Extent), Trigger: string(r.Trigger), Actor: r.Actor,
		AllowDeletes: r.AllowDeletes && r.Extent == Full, Types: r.Types,
	}
	if r.Extent == Delta && !r.Since.IsZero() {
		p.Since = &r.Since
	}
	if len(p.Types) == 0 {
		p.Types = nil
	}
	if p.AllowDeletes {
		p.AllowTypes = p.Types
	}
	run, err := dbsqlc.New().ReconciliationRequest(ctx, tx, p)
	if err != nil {
		return 0, fmt.Errorf("request a reconciliation: %w", err)
	}
	if !run.IsNew && r.Trigger != TriggerDemand {
		return run.ID, nil
	}
	return run.ID, q.continueRun(ctx, tx)
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
