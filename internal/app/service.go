// Package app holds what a process is made of: the settings, the pools, the wiring of
// the stages and their life cycle, and the operations of an operator's command.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/health"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
)

// Roles of a process.
const (
	RoleAll    = "all"
	RoleAPI    = "api"
	RoleWorker = "worker"
)

// The ends of the parts of a stop, as shares of SHUTDOWN_TIMEOUT from the signal on.
// River's jobs stop while webhooks are still taken and HTTP drains. A webhook that comes
// at the end of SHUTDOWN_DELAY (5 s of 20 s) waits up to 7 s for its commit.
const (
	softStopShare = 0.60 // 12 s: running jobs are cancelled
	hardStopShare = 0.75 // 15 s: jobs that ignore that are left to River's rescue
	drainShare    = 0.75 // 15 s: connections whose request is not answered are cut
	commitShare   = 0.85 // 17 s: what the receiver still holds is committed or refused
	recoverShare  = 0.90 // 18 s: the reconciliation after refused webhooks is requested
	closeShare    = 0.95 // 19 s: the pools are closed
)

// recoveryCheckInterval is how often serve checks whether webhooks were answered 503;
// if so it requests a full reconciliation.
const recoveryCheckInterval = 5 * time.Second

// Service is all the parts, wired.
type Service struct {
	config Config
	role   string
	log    *slog.Logger

	ingestPool *pgxpool.Pool
	pool       *pgxpool.Pool // of the workers
	readPool   *pgxpool.Pool
	clock      *jobs.Clock
	alerts     *alerting.Alerts
	forecast   *revenue.Forecast
	receiver   *inbox.Receiver
	commits    *health.Commits
	direct     *directNotifier
	host       string // this machine's name; "" when it has none
	queue      *mirror.Queue
	runs       *reconcile.Queue
	source     *mirror.Source
	replays    *inbox.Replayer
	sync       *mirror.SyncWorker
	breaker    *circuit.Breaker
	worker     *jobs.Client
	readiness  *health.Readiness
	server     *http.Server
	signatures func() alerting.SignatureWindow // what the webhook refused since the last call
}

// Run serves until ctx ends, then stops in order. It answers HTTP from the start, so
// that /healthz and /readyz report what Dealbox waits for. A stop that goes wrong is
// logged and is no error: what was acknowledged is committed, and what was not done
// waits in Postgres for the next process.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	serving := make(chan error, 1)
	go func() { serving <- s.server.Serve(listener) }()
	s.log.Info("listening", "address", listener.Addr().String(), "role", s.role)

	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	var loops sync.WaitGroup
	var delay time.Duration
	err := s.start(work, &loops)
	if err == nil {
		select {
		case <-ctx.Done():
			delay = s.config.Lifecycle.ShutdownDelay
		case err = <-serving:
			err = fmt.Errorf("serve HTTP: %w", err)
		}
	}
	stopWork()
	s.stop(context.WithoutCancel(ctx), delay, &loops)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // a signal came during the start
	}
	return err
}

// start waits for the database, then starts the work. The loops end after ctx does.
func (s *Service) start(ctx context.Context, loops *sync.WaitGroup) error {
	loops.Go(func() { s.watchOutage(ctx) })
	if err := waitForDatabase(ctx, s.pool, s.log); err != nil {
		return err
	}
	if err := s.retryUntilDone(ctx, func() error { return migrations.Check(ctx, s.pool) }); err != nil {
		if ctx.Err() == nil {
			s.reportRefusedStart(ctx, err)
		}
		return err
	}
	s.resolveRefusedStart(ctx)
	if err := inbox.MakePartitions(ctx, s.pool); err != nil {
		// /readyz checks today's partition, and the hourly job tries again.
		s.log.Error("inbox_event's partitions could not be made; the hourly job tries again, and /readyz is 503 while today has none", "error", err)
	}
	s.readiness.Ready()
	skew := health.NewClockWatch(s.clockConfig(s.host))
	signatures := &signatureWatch{take: s.signatures, pool: s.pool, alerts: s.alerts, log: s.log}
	loops.Go(func() { signatures.run(ctx) })
	loops.Go(func() { s.requestRecovery(ctx) })
	if s.role == RoleAPI {
		loops.Go(func() { skew.Run(ctx) })
		return nil
	}
	if err := skew.WaitForWorkers(ctx); err != nil {
		return err
	}
	loops.Go(func() { skew.Run(ctx) })
	return s.startWork(ctx, loops)
}

// startWork starts the workers and what only a process with workers does.
func (s *Service) startWork(ctx context.Context, loops *sync.WaitGroup) error {
	if err := s.retryUntilDone(ctx, func() error { return s.requestInitialRuns(ctx) }); err != nil {
		return err
	}
	if err := s.retryUntilDone(ctx, func() error {
		// Not ctx: stop lets running jobs finish.
		if err := s.worker.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("start the workers: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	loops.Go(func() { s.breaker.Run(ctx, time.Second, s.sync.Probe, s.sync.BreakerClosed) })
	loops.Go(func() { s.sync.Watch(ctx) })
	if url := s.config.Heartbeat.URL; url != "" {
		heartbeat := health.NewHeartbeat(health.HeartbeatConfig{URL: url.Reveal(), DB: s.pool, Commits: s.commits, Logger: s.log})
		loops.Go(func() { heartbeat.Run(ctx) })
	}
	s.log.Info("ready", "workers", s.config.Jobs.WorkerCount)
	return nil
}

// retryUntilDone repeats a step of the start until it succeeds: the database may go
// away again, and a process that accepts webhooks must not end for that. Only a
// schema that is behind, or made before the first release, is final.
func (s *Service) retryUntilDone(ctx context.Context, step func() error) error {
	for {
		err := step()
		if err == nil || errors.Is(err, migrations.ErrBehind) || errors.Is(err, migrations.ErrUnreleased) {
			return err
		}
		if stopped := pause(ctx, waitEvery); stopped != nil {
			return fmt.Errorf("%w; the last step of the start failed: %w", stopped, err)
		}
		s.log.WarnContext(ctx, "a step of the start failed; Dealbox repeats it each second", "error", err)
	}
}

// requestInitialRuns requests a full reconciliation and a forecast: while Dealbox was
// stopped webhooks were lost, and settings of the forecast may have changed.
func (s *Service) requestInitialRuns(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := s.runs.Request(ctx, tx, reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerStart}); err != nil {
			return err
		}
		return s.forecast.Request(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("request the first reconciliation and forecast: %w", err)
	}
	return nil
}

// requestRecovery requests a full reconciliation when webhooks were answered 503 while
// Postgres was away. The next delivery does the same, but it may be hours away.
func (s *Service) requestRecovery(ctx context.Context) {
	for pause(ctx, recoveryCheckInterval) == nil {
		if err := s.receiver.RequestRecovery(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "webhooks were answered 503, and the full reconciliation that recovers them cannot be requested yet; Dealbox repeats it each 5 s", "error", err)
		}
	}
}

// stop makes /readyz 503, takes webhooks for the delay, drains HTTP, commits what the
// receiver still holds, and closes the pools. River stops at the same time. All of it
// ends within SHUTDOWN_TIMEOUT, whatever Postgres does.
func (s *Service) stop(ctx context.Context, delay time.Duration, loops *sync.WaitGroup) {
	s.log.Info("stopping: /readyz is 503, webhooks are taken for SHUTDOWN_DELAY; a second signal ends the process at once",
		"delay", delay.String(), "timeout", s.config.Lifecycle.ShutdownTimeout.String())
	began := time.Now()
	within := func(share float64, step func(context.Context) error, left string) {
		ctx, cancel := context.WithDeadline(ctx, began.Add(s.share(share)))
		defer cancel()
		if err := step(ctx); err != nil {
			s.log.Warn("a part of the stop did not end in time", "left", left, "error", err)
		}
	}
	s.readiness.Stopping()
	var both sync.WaitGroup
	both.Go(func() {
		_ = pause(ctx, delay)
		within(drainShare, s.drain, "requests without an answer were cut; Strapi's plugin sends them again")
		within(commitShare, s.receiver.Close, "webhooks were answered 503; Strapi's plugin sends them again")
		within(recoverShare, s.receiver.RequestRecovery, "the full reconciliation of the next start finds what was refused")
	})
	both.Go(func() {
		within(hardStopShare, s.stopWorker, "jobs were cut; a worker tries them again in a minute")
	})
	both.Wait()
	within(closeShare, func(ctx context.Context) error { return ended(ctx, loops.Wait) }, "a loop is still waiting for Postgres")
	within(closeShare, func(ctx context.Context) error { return ended(ctx, s.closePools) }, "Postgres does not answer, so its sessions end with the process")
	s.log.Info("stopped", "took", time.Since(began).Round(time.Millisecond).String())
}

// drain closes the listener and waits for the requests that are under way.
func (s *Service) drain(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close()
		return fmt.Errorf("drain HTTP: %w", err)
	}
	return nil
}

func (s *Service) stopWorker(ctx context.Context) error {
	if s.worker == nil {
		return nil
	}
	if err := s.worker.Stop(ctx); err != nil {
		return fmt.Errorf("stop the workers: %w", err)
	}
	return nil
}

// share returns a part of SHUTDOWN_TIMEOUT.
func (s *Service) share(part float64) time.Duration {
	return time.Duration(part * float64(s.config.Lifecycle.ShutdownTimeout))
}

// ended runs wait, and returns ctx's error when that ends first.
func ended(ctx context.Context, wait func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause waits for d, or returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Service) closePools() {
	for _, pool := range []*pgxpool.Pool{s.ingestPool, s.pool, s.readPool} {
		if pool != nil {
			pool.Close()
		}
	}
}
