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

// Queues: one for each stage, so that a slow stage never takes another's slots.
const (
	QueueSync        = "sync"
	QueueForecast    = "forecast"
	QueueNotify      = "notify"
	QueueMail        = "mail" // notifications by e-mail
	QueueMaintenance = "maintenance"
)

const (
	// Timeout bounds one attempt of a job: then River cancels its context.
	Timeout = 30 * time.Second
	// RescueAfter is how long after its start River's leader retries a job whose
	// worker died. River's default is an hour: that long nothing would move after
	// a crash. The leader checks every 30 s.
	RescueAfter = 60 * time.Second
	// fetchCooldown is the least time between two fetches and, on the inserting
	// client, between two notifications (River's default is 100 ms: a median of
	// 48 ms from insert to start; with 2 ms 0.8 ms).
	fetchCooldown = 2 * time.Millisecond
	// fetchPollInterval is how often a worker fetches without a notification: it
	// finds a job whose commit overlapped a fetch (River's default is 1 s).
	fetchPollInterval = 50 * time.Millisecond
	// maxAttempts is so high that River never discards a job because of its
	// failures: each stage counts attempts in its table and decides when to give up.
	//
	// One way to lose a job remains: River's leader discards a job whose worker died
	// when it does not know the job's kind, as during an upgrade with two versions.
	// So each stage looks for rows that wait without a job, and gives them a new one.
	maxAttempts = 10_000
)

// Client inserts jobs and, when made by NewWorker, works them.
type Client = river.Client[pgx.Tx]

// Clock is the measured difference between this machine's clock and the
// database's. The zero value means no difference.
type Clock struct{ skew atomic.Int64 }

// Set stores how far this machine's clock is ahead of the database's.
func (c *Clock) Set(ahead time.Duration) { c.skew.Store(int64(ahead)) }

// Skew returns how far this machine's clock is ahead of the database's.
func (c *Clock) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// NewInserter returns a client that only inserts. It cannot be started, so it
// never leads and works nothing. A nil clock means no difference, a nil logger
// discards.
func NewInserter(pool *pgxpool.Pool, clock *Clock, logger *slog.Logger) (*Client, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), config(clock, logger))
	if err != nil {
		return nil, fmt.Errorf("make the inserting River client: %w", err)
	}
	return client, nil
}

// LiveOnly returns options that make a job unique, by its arguments, among those
// that are not finished: a job that replaces a lost one cannot multiply.
func LiveOnly() *river.InsertOpts {
	return &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// Work configures a working client.
type Work struct {
	Workers  *river.Workers
	Queues   map[string]river.QueueConfig
	Periodic []*river.PeriodicJob
	// SoftStop is how long Stop waits for running jobs before it cancels them.
	SoftStop time.Duration
}

// NewWorker returns a client that works the given queues once it is started. It
// fetches only the kinds of job that it knows; others wait, with no attempt
// counted, for a replica that does.
func NewWorker(pool *pgxpool.Pool, clock *Clock, logger *slog.Logger, work Work) (*Client, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), workerConfig(clock, logger, work))
	if err != nil {
		return nil, fmt.Errorf("make the working River client: %w", err)
	}
	return client, nil
}

func workerConfig(clock *Clock, logger *slog.Logger, work Work) *river.Config {
	c := config(clock, logger)
	c.Workers = work.Workers
	c.Queues = work.Queues
	c.PeriodicJobs = work.Periodic
	c.SoftStopTimeout = work.SoftStop
	c.FetchOnlyKnownKinds = true
	// A job that ignores the end of its context keeps its goroutine, and its queue
	// would have a slot less for good: give the queue another one.
	c.JobStuckHandler = func(context.Context, river.JobStuckHandlerParams) river.JobStuckHandlerResult {
		return river.JobStuckHandlerResult{AddWorkerSlot: true}
	}
	return c
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

// backdate moves the time of jobs that are due now a second into the past, and
// further by as much as this machine's clock is ahead. River stamps jobs with
// this machine's clock and compares with the database's: a clock that was 5 ms
// ahead delayed jobs by up to 953 ms.
type backdate struct {
	clock *Clock
}

func (backdate) IsHook() bool { return true }

var _ rivertype.HookInsertBegin = backdate{}

// InsertBegin implements rivertype.HookInsertBegin.
func (b backdate) InsertBegin(_ context.Context, params *rivertype.JobInsertParams) error {
	now := time.Now()
	var skew time.Duration
	if b.clock != nil {
		skew = max(b.clock.Skew(), 0)
	}
	// A time of the database's clock may have passed by this machine's.
	if params.ScheduledAt != nil && params.ScheduledAt.After(now.Add(-skew)) {
		return nil
	}
	due := now.Add(-skew - time.Second)
	params.ScheduledAt = &due
	return nil
}
