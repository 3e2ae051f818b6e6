// Package jobs makes River clients with the settings that Dealbox needs, so
// that the service, the commands and the tests use the same ones.
package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// Schema is where River's own tables live. Never make a foreign key to them:
// River deletes its rows.
const Schema = "river"

// Queues. One a stage, so that a slow stage never takes another's slots.
const (
	QueueSync        = "sync"
	QueueForecast    = "forecast"
	QueueNotify      = "notify"
	QueueMail        = "mail" // of the notifications, those by e-mail
	QueueMaintenance = "maintenance"
)

const (
	// Timeout bounds one attempt of a job.
	Timeout = 30 * time.Second
	// RescueAfter is when a job whose worker died is tried again. River's
	// default is an hour: that long after a crash nothing would move.
	RescueAfter = 60 * time.Second
	// fetchCooldown limits fetches and, on the inserting client, notifications
	// (default 100 ms: a median of 48 ms from insert to start; with 2 ms 0.8 ms).
	fetchCooldown = 2 * time.Millisecond
	// fetchPollInterval finds a job whose commit overlapped a fetch (default 1 s).
	fetchPollInterval = 50 * time.Millisecond
	// maxAttempts is River's own limit. Stages count attempts in their tables
	// and decide when to give up, so River must never discard a job on its own.
	maxAttempts = 10_000
)

// Client inserts jobs and, when made by NewWorker, works them.
type Client = river.Client[pgx.Tx]

// Clock is the measured difference between this machine's clock and the
// database's. The zero value means no difference.
type Clock struct{ skew atomic.Int64 }

// Set stores how far this machine's clock is ahead of the database's.
func (c *Clock) Set(ahead time.Duration) { c.skew.Store(int64(ahead)) }

// Skew is how far this machine's clock is ahead of the database's.
func (c *Clock) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// NewInserter makes a client that only inserts. It is never started, so it
// never leads and works nothing.
func NewInserter(pool *pgxpool.Pool, clock *Clock, logger *slog.Logger) (*Client, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), config(clock, logger))
	if err != nil {
		return nil, fmt.Errorf("make the inserting River client: %w", err)
	}
	return client, nil
}

// LiveOnly makes a job unique among those that are still to be worked, so that
// what is inserted in place of a lost one cannot multiply.
func LiveOnly() *river.InsertOpts {
	return &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// Work is what a working client does.
type Work struct {
	Workers  *river.Workers
	Queues   map[string]river.QueueConfig
	Periodic []*river.PeriodicJob
	// SoftStop is how long Stop waits for running jobs before it cancels them.
	SoftStop time.Duration
}

// NewWorker makes a client that works the given queues once it is started.
func NewWorker(pool *pgxpool.Pool, clock *Clock, logger *slog.Logger, work Work) (*Client, error) {
	c := config(clock, logger)
	c.Workers = work.Workers
	c.Queues = work.Queues
	c.PeriodicJobs = work.Periodic
	c.SoftStopTimeout = work.SoftStop
	c.FetchOnlyKnownKinds = true
	// A job that outlives its timeout keeps its goroutine; give the queue
	// another slot rather than lose one for good.
	c.JobStuckHandler = func(context.Context, river.JobStuckHandlerParams) river.JobStuckHandlerResult {
		return river.JobStuckHandlerResult{AddWorkerSlot: true}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), c)
	if err != nil {
		return nil, fmt.Errorf("make the working River client: %w", err)
	}
	return client, nil
}

func config(clock *Clock, logger *slog.Logger) *river.Config {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &river.Config{
		Schema:                      Schema,
		Logger:                      quieten(logger),
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           fetchPollInterval,
		JobTimeout:                  Timeout,
		RescueStuckJobsAfter:        RescueAfter,
		MaxAttempts:                 maxAttempts,
		CompletedJobRetentionPeriod: 15 * time.Minute,
		// The service's role does not own River's indexes.
		ReindexerSchedule: river.NeverSchedule(),
		Hooks:             []rivertype.Hook{backdate{clock}},
	}
}

// backdate makes jobs that are due now due a little earlier. River stamps them
// with this machine's clock and compares with the database's: a clock that is
// 5 ms ahead delayed jobs by up to 953 ms.
type backdate struct {
	clock *Clock
}

func (backdate) IsHook() bool { return true }

var _ rivertype.HookInsertBegin = backdate{}

// InsertBegin implements rivertype.HookInsertBegin.
func (b backdate) InsertBegin(_ context.Context, params *rivertype.JobInsertParams) error {
	now := time.Now()
	if params.ScheduledAt != nil && params.ScheduledAt.After(now) {
		return nil
	}
	var skew time.Duration
	if b.clock != nil {
		skew = max(b.clock.Skew(), 0)
	}
	due := now.Add(-skew - time.Second)
	params.ScheduledAt = &due
	return nil
}
