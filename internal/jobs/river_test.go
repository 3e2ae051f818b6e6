package jobs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertest"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"dealbox/internal/jobs"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// deadline is when a test gives up. It bounds nothing but a failure.
const deadline = 2 * time.Minute

// knownArgs are of a kind that the test's working client knows.
type knownArgs struct {
	Name string `json:"name"`
}

func (knownArgs) Kind() string { return "known" }

// unknownArgs are of a kind that it does not know.
type unknownArgs struct{}

func (unknownArgs) Kind() string { return "unknown" }

// worker works with a function, and with a timeout of its own when it has one.
type worker[T river.JobArgs] struct {
	river.WorkerDefaults[T]
	work    func(context.Context, *river.Job[T]) error
	timeout time.Duration
}

func (w worker[T]) Work(ctx context.Context, job *river.Job[T]) error { return w.work(ctx, job) }
func (w worker[T]) Timeout(*river.Job[T]) time.Duration               { return w.timeout }

type env struct {
	t        *testing.T
	pool     *pgxpool.Pool
	inserter *jobs.Client
}

func newEnv(t *testing.T) *env {
	t.Parallel()
	pool := pgtest.Pool(t)
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(t, err)
	return &env{t, pool, inserter}
}

// work returns what a client does that works known jobs with this function, in
// a queue with one slot.
func work(do func(context.Context, *river.Job[knownArgs]) error) jobs.Work {
	workers := river.NewWorkers()
	river.AddWorker(workers, worker[knownArgs]{work: do})
	return jobs.Work{Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueSync: {MaxWorkers: 1}}, SoftStop: deadline}
}

// start starts a working client and stops it when the test ends.
func (e *env) start(work jobs.Work) *jobs.Client {
	e.t.Helper()
	client, err := jobs.NewWorker(e.pool, nil, nil, work)
	require.NoError(e.t, err)
	e.run(client)
	return client
}

func (e *env) run(client *jobs.Client) {
	e.t.Helper()
	require.NoError(e.t, client.Start(context.WithoutCancel(e.t.Context()))) // the cleanup ends it
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		require.NoError(e.t, client.StopAndCancel(ctx))
	})
}

func (e *env) insert(args river.JobArgs, queue string) *rivertype.JobRow {
	e.t.Helper()
	inserted, err := e.inserter.Insert(e.t.Context(), args, &river.InsertOpts{Queue: queue})
	require.NoError(e.t, err)
	return inserted.Job
}

// abandon makes a job look like one whose worker died while it was at it.
func (e *env) abandon(id int64, started string) {
	e.t.Helper()
	e.exec(`UPDATE river.river_job SET state = 'running', attempt = 1, attempted_by = '{dead}', attempted_at = now() - $2::interval WHERE id = $1`, id, started)
}

func (e *env) exec(sql string, args ...any) {
	e.t.Helper()
	_, err := e.pool.Exec(e.t.Context(), sql, args...)
	require.NoError(e.t, err)
}

func (e *env) job(id int64) *rivertype.JobRow {
	e.t.Helper()
	job, err := e.inserter.JobGet(e.t.Context(), id)
	require.NoError(e.t, err)
	return job
}

func (e *env) eventually(what string, ok func() bool) {
	e.t.Helper()
	require.Eventually(e.t, ok, deadline, 20*time.Millisecond, what)
}

// wait waits for a signal.
func wait[T any](e *env, what string, signal <-chan T) T {
	e.t.Helper()
	select {
	case got := <-signal:
		return got
	case <-time.After(deadline):
		require.FailNow(e.t, "it never came: "+what)
		panic("unreachable")
	}
}

func TestInserter_WritesToRiversSchema(t *testing.T) {
	e := newEnv(t)
	e.insert(knownArgs{"a"}, jobs.QueueForecast)
	got := rivertest.RequireInserted(e.t.Context(), t, riverpgxv5.New(e.pool), knownArgs{},
		&rivertest.RequireInsertedOpts{Schema: jobs.Schema, Queue: jobs.QueueForecast, State: rivertype.JobStateAvailable})
	require.Equal(t, knownArgs{"a"}, got.Args)
}

func TestInserter_CannotStartAndNeverLeads(t *testing.T) {
	e := newEnv(t)
	e.insert(knownArgs{}, jobs.QueueSync)
	require.Error(t, e.inserter.Start(e.t.Context()))
	require.Empty(t, e.leader())

	worker := e.start(work(func(context.Context, *river.Job[knownArgs]) error { return nil }))
	e.eventually("the working client leads", func() bool { return e.leader() == worker.ID() })
}

// leader returns the client that leads, empty when none does.
func (e *env) leader() string {
	e.t.Helper()
	var id string
	require.NoError(e.t, e.pool.QueryRow(e.t.Context(), `SELECT coalesce(max(leader_id), '') FROM river.river_leader`).Scan(&id))
	return id
}

func TestAttempt_ContextEndsAfterTimeout(t *testing.T) {
	e := newEnv(t)
	before := time.Now()
	e.attempt(func(ctx context.Context, _ *river.Job[knownArgs]) error {
		end, has := ctx.Deadline()
		require.True(t, has)
		require.WithinRange(t, end, before.Add(jobs.Timeout), time.Now().Add(jobs.Timeout))
		return nil
	}, nil)
}

// River's own limit would be 25.
func TestAttempt_FailureAfterAThousandAttemptsIsRetried(t *testing.T) {
	e := newEnv(t)
	got := e.attempt(func(_ context.Context, job *river.Job[knownArgs]) error {
		require.Equal(t, 1001, job.Attempt)
		return errors.New("it fails")
	}, func(tx pgx.Tx, id int64) {
		_, err := tx.Exec(e.t.Context(), "UPDATE river.river_job SET attempt = 1000 WHERE id = $1", id)
		require.NoError(t, err)
	})
	require.Equal(t, river.EventKindJobFailed, got.EventKind)
	require.Nil(t, got.Job.FinalizedAt, "neither discarded nor cancelled")
}

// attempt inserts one job and works it once, with the settings that both clients
// have. prepare may change the row before.
func (e *env) attempt(do func(context.Context, *river.Job[knownArgs]) error, prepare func(tx pgx.Tx, id int64)) *rivertest.WorkResult {
	e.t.Helper()
	tx, err := e.pool.Begin(e.t.Context())
	require.NoError(e.t, err)
	defer func() { require.NoError(e.t, tx.Rollback(e.t.Context())) }()
	inserted, err := e.inserter.InsertTx(e.t.Context(), tx, knownArgs{}, nil)
	require.NoError(e.t, err)
	if prepare != nil {
		prepare(tx, inserted.Job.ID)
	}
	job, err := e.inserter.JobGetTx(e.t.Context(), tx, inserted.Job.ID)
	require.NoError(e.t, err)
	tester := rivertest.NewWorker(e.t, riverpgxv5.New(nil), jobs.ConfigOf(nil, nil), worker[knownArgs]{work: do})
	got, err := tester.WorkJob(e.t.Context(), e.t, tx, job)
	if got == nil {
		require.NoError(e.t, err)
	}
	return got
}

func TestWorker_QueueThatIsFullHoldsUpNoOther(t *testing.T) {
	e := newEnv(t)
	started, finished, release := make(chan string, 3), make(chan string, 3), make(chan struct{})
	w := work(func(ctx context.Context, job *river.Job[knownArgs]) error {
		started <- job.Args.Name
		if job.Queue == jobs.QueueSync {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		finished <- job.Args.Name
		return nil
	})
	w.Queues[jobs.QueueNotify] = river.QueueConfig{MaxWorkers: 1}
	e.start(w)
	e.insert(knownArgs{"slow"}, jobs.QueueSync)
	require.Equal(t, "slow", wait(e, "the slow job", started))
	e.insert(knownArgs{"waits"}, jobs.QueueSync)
	e.insert(knownArgs{"other"}, jobs.QueueNotify)
	require.Equal(t, "other", wait(e, "the other queue's job", started))
	require.Equal(t, "other", wait(e, "its end", finished))
	close(release)
	require.Equal(t, "slow", wait(e, "the slow job's end", finished))
	require.Equal(t, "waits", wait(e, "the job behind it", finished))
}

// A client of another version may have inserted it.
func TestWorker_LeavesJobsOfUnknownKinds(t *testing.T) {
	e := newEnv(t)
	foreign := e.insert(unknownArgs{}, jobs.QueueSync)
	e.insert(knownArgs{"behind"}, jobs.QueueSync)
	finished := make(chan string, 1)
	e.start(work(func(_ context.Context, job *river.Job[knownArgs]) error {
		finished <- job.Args.Name
		return nil
	}))
	require.Equal(t, "behind", wait(e, "the job behind it", finished))
	got := e.job(foreign.ID)
	require.Equal(t, rivertype.JobStateAvailable, got.State)
	require.Zero(t, got.Attempt)

	newer, known := river.NewWorkers(), make(chan struct{}, 1)
	river.AddWorker(newer, worker[unknownArgs]{work: func(context.Context, *river.Job[unknownArgs]) error {
		known <- struct{}{}
		return nil
	}})
	e.start(jobs.Work{Workers: newer, Queues: map[string]river.QueueConfig{jobs.QueueSync: {MaxWorkers: 1}}})
	wait(e, "the client that knows it", known)
}

func TestWorker_RetriesAJobWhoseWorkerDied(t *testing.T) {
	e := newEnv(t)
	abandoned, young := e.insert(knownArgs{"abandoned"}, jobs.QueueSync), e.insert(knownArgs{"young"}, jobs.QueueSync)
	e.abandon(abandoned.ID, (jobs.RescueAfter + time.Second).String())
	e.abandon(young.ID, "0")
	finished := make(chan string, 2)
	e.start(work(func(_ context.Context, job *river.Job[knownArgs]) error {
		finished <- job.Args.Name
		return nil
	}))
	require.Equal(t, "abandoned", wait(e, "the abandoned job", finished))
	require.Equal(t, rivertype.JobStateRunning, e.job(young.ID).State, "its worker may be alive")
}

// That is why every stage has to find rows that wait without a job.
func TestWorker_LeaderDiscardsAnAbandonedJobOfUnknownKind(t *testing.T) {
	e := newEnv(t)
	foreign := e.insert(unknownArgs{}, jobs.QueueSync)
	e.abandon(foreign.ID, (jobs.RescueAfter + time.Second).String())
	e.start(work(func(context.Context, *river.Job[knownArgs]) error { return nil }))
	e.eventually("the leader discards it", func() bool { return e.job(foreign.ID).State == rivertype.JobStateDiscarded })
}

// The first job ignores the end of its context and keeps the queue's only slot.
func TestWorker_StuckJobCostsNoSlot(t *testing.T) {
	e := newEnv(t)
	unblock := make(chan struct{})
	finished := make(chan string, 1)
	workers := river.NewWorkers()
	river.AddWorker(workers, worker[knownArgs]{timeout: time.Millisecond, work: func(_ context.Context, job *river.Job[knownArgs]) error {
		if job.Args.Name == "stuck" {
			<-unblock
			return nil
		}
		finished <- job.Args.Name
		return nil
	}})
	config := jobs.WorkerConfigOf(nil, nil, jobs.Work{Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueSync: {MaxWorkers: 1}}})
	config.JobStuckThreshold = time.Millisecond // River's default is 10 s
	client, err := river.NewClient(riverpgxv5.New(e.pool), config)
	require.NoError(t, err)
	e.run(client)
	t.Cleanup(func() { close(unblock) }) // before the client stops
	e.insert(knownArgs{"stuck"}, jobs.QueueSync)
	e.insert(knownArgs{"behind"}, jobs.QueueSync)
	require.Equal(t, "behind", wait(e, "the job behind the stuck one", finished))
}

// A row without a notification: what a client sees whose fetch a commit overlapped.
func TestWorker_FindsAJobWithoutNotification(t *testing.T) {
	e := newEnv(t)
	finished := make(chan string, 2)
	e.start(work(func(_ context.Context, job *river.Job[knownArgs]) error {
		finished <- job.Args.Name
		return nil
	}))
	e.insert(knownArgs{"first"}, jobs.QueueSync)
	require.Equal(t, "first", wait(e, "the client is up", finished))
	e.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts, state) VALUES ('known', $1, '{"name":"silent"}', 10, 'available')`, jobs.QueueSync)
	require.Equal(t, "silent", wait(e, "the job without notification", finished))
}

func TestWorker_RunsPeriodicJobs(t *testing.T) {
	e := newEnv(t)
	finished := make(chan string, 1)
	w := work(func(_ context.Context, job *river.Job[knownArgs]) error {
		finished <- job.Args.Name
		return nil
	})
	w.Periodic = []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(24*time.Hour), func() (river.JobArgs, *river.InsertOpts) {
		return knownArgs{"periodic"}, &river.InsertOpts{Queue: jobs.QueueSync}
	}, &river.PeriodicJobOpts{RunOnStart: true})}
	e.start(w)
	require.Equal(t, "periodic", wait(e, "the periodic job", finished))
}

func TestWorker_RemovesCompletedJobsAfterAWhile(t *testing.T) {
	e := newEnv(t)
	old, young := e.insert(knownArgs{}, jobs.QueueSync), e.insert(knownArgs{}, jobs.QueueSync)
	e.exec(`UPDATE river.river_job SET state = 'completed', finalized_at = now() - CASE WHEN id = $1 THEN interval '16 minutes' ELSE interval '5 minutes' END`, old.ID)
	e.start(work(func(context.Context, *river.Job[knownArgs]) error { return nil }))
	e.eventually("the leader removes the old one", func() bool {
		_, err := e.inserter.JobGet(e.t.Context(), old.ID)
		return errors.Is(err, rivertype.ErrNotFound)
	})
	require.Equal(t, rivertype.JobStateCompleted, e.job(young.ID).State)
}

func TestWorker_Stop(t *testing.T) {
	for name, c := range map[string]struct {
		softStop time.Duration
		want     error // what ends the job
	}{
		"WaitsForARunningJob":  {deadline, nil},
		"CancelsAfterSoftStop": {time.Millisecond, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			started, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			w := work(func(ctx context.Context, _ *river.Job[knownArgs]) error {
				close(started)
				select {
				case <-release:
					ended <- nil
				case <-ctx.Done():
					ended <- ctx.Err()
				}
				return nil
			})
			w.SoftStop = c.softStop
			client, err := jobs.NewWorker(e.pool, nil, nil, w)
			require.NoError(t, err)
			require.NoError(t, client.Start(context.WithoutCancel(t.Context())))
			job := e.insert(knownArgs{}, jobs.QueueSync)
			wait(e, "the job", started)
			stopped := make(chan error, 1)
			go func() { stopped <- client.Stop(e.t.Context()) }()
			if c.want == nil {
				close(release)
			}
			require.ErrorIs(t, wait(e, "the job's end", ended), c.want)
			require.NoError(t, wait(e, "the client's end", stopped))
			require.Equal(t, rivertype.JobStateCompleted, e.job(job.ID).State)
		})
	}
}

func TestClients_RefuseBadSettings(t *testing.T) {
	e := newEnv(t)
	w := work(func(context.Context, *river.Job[knownArgs]) error { return nil })
	w.Queues = map[string]river.QueueConfig{jobs.QueueSync: {MaxWorkers: -1}}
	_, err := jobs.NewWorker(e.pool, nil, nil, w)
	require.ErrorContains(t, err, "make the working River client")
}

func TestLiveOnly_OneAtATime(t *testing.T) {
	e := newEnv(t)
	insert := func(name string) *rivertype.JobInsertResult {
		t.Helper()
		opts := jobs.LiveOnly()
		opts.Queue = jobs.QueueSync
		got, err := e.inserter.Insert(e.t.Context(), knownArgs{name}, opts)
		require.NoError(t, err)
		return got
	}
	first := insert("a")
	require.False(t, insert("b").UniqueSkippedAsDuplicate, "other arguments")
	for _, state := range []string{"available", "running", "retryable", "scheduled", "pending"} {
		e.exec("UPDATE river.river_job SET state = $2::river.river_job_state WHERE id = $1", first.Job.ID, state)
		got := insert("a")
		require.True(t, got.UniqueSkippedAsDuplicate, state)
		require.Equal(t, first.Job.ID, got.Job.ID, state)
	}
	for _, state := range []string{"completed", "cancelled", "discarded"} {
		e.exec("UPDATE river.river_job SET state = $2::river.river_job_state, finalized_at = now() WHERE id = $1", first.Job.ID, state)
		first = insert("a")
		require.False(t, first.UniqueSkippedAsDuplicate, state)
	}
}

// Both clients, one job and many.
func TestClients_BackdateByTheClocksSkew(t *testing.T) {
	e := newEnv(t)
	const ahead = time.Hour
	clock := &jobs.Clock{}
	clock.Set(ahead)
	inserter, err := jobs.NewInserter(e.pool, clock, nil)
	require.NoError(t, err)
	worker, err := jobs.NewWorker(e.pool, clock, nil, work(func(context.Context, *river.Job[knownArgs]) error { return nil }))
	require.NoError(t, err)
	for name, client := range map[string]*jobs.Client{"inserter": inserter, "worker": worker} {
		before := time.Now()
		one, err := client.Insert(e.t.Context(), knownArgs{}, nil)
		require.NoError(t, err)
		many, err := client.InsertMany(e.t.Context(), []river.InsertManyParams{{Args: knownArgs{"a"}}, {Args: knownArgs{"b"}}})
		require.NoError(t, err)
		for _, got := range append(many, one) {
			due := e.job(got.Job.ID)
			require.Equal(t, rivertype.JobStateAvailable, due.State, name)
			// Postgres keeps microseconds.
			require.WithinRange(t, due.ScheduledAt, before.Add(-ahead-time.Second-time.Millisecond), time.Now().Add(-ahead-time.Second), name)
		}
		later := time.Now().Add(24 * time.Hour)
		got, err := client.Insert(e.t.Context(), knownArgs{}, &river.InsertOpts{ScheduledAt: later})
		require.NoError(t, err)
		require.Equal(t, rivertype.JobStateScheduled, got.Job.State, name)
		require.WithinDuration(t, later, e.job(got.Job.ID).ScheduledAt, time.Millisecond, name)
	}
}
