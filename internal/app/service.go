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
	"os"
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

// Shutdown: HTTP drains and River's running jobs finish at the same time; what
// is left of SHUTDOWN_TIMEOUT after the hard stop is for closing the pools.
const (
	drainShare    = 0.40 // of SHUTDOWN_TIMEOUT: 8 s of 20 s
	softStopShare = 0.60 // 12 s
	hardStopShare = 0.75 // 15 s
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
// that /healthz and /readyz report what Dealbox waits for.
func (s *Service) Run(ctx context.Context, listener net.Listener) error {
	defer s.closePools()
	serving := make(chan error, 1)
	go func() { serving <- s.server.Serve(listener) }()
	s.log.Info("listening", "address", listener.Addr().String(), "role", s.role)

	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	var loops sync.WaitGroup
	err := s.start(work, &loops)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-serving:
			err = fmt.Errorf("serve HTTP: %w", err)
		}
	}
	stopWork()
	stopErr := s.stop(context.WithoutCancel(ctx), &loops)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // a signal came during the start
	}
	return errors.Join(err, stopErr)
}

// start waits for the database, then starts the work. The loops end after ctx does.
func (s *Service) start(ctx context.Context, loops *sync.WaitGroup) error {
	if err := waitForDatabase(ctx, s.pool, s.log); err != nil {
		return err
	}
	if err := s.retryUntilDone(ctx, func() error { return migrations.Check(ctx, s.pool) }); err != nil {
		return err
	}
	if err := inbox.MakePartitions(ctx, s.pool); err != nil {
		// /readyz checks today's partition, and the hourly job tries again.
		s.log.Error("inbox_event's partitions could not be made; the hourly job tries again, and /readyz is 503 while today has none", "error", err)
	}
	s.readiness.Ready()
	host, _ := os.Hostname() // without a name its alerts have no subject
	skew := health.NewClockWatch(s.clockConfig(host))
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
		heartbeat := health.NewHeartbeat(health.HeartbeatConfig{URL: url.Reveal(), DB: s.pool, Logger: s.log})
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

// stop drains HTTP, commits what the receiver still holds, and softly stops River at
// the same time.
func (s *Service) stop(ctx context.Context, loops *sync.WaitGroup) error {
	s.log.Info("stopping", "timeout", s.config.Lifecycle.ShutdownTimeout.String())
	s.readiness.Stopping()
	var drained, worked error
	var both sync.WaitGroup
	both.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, s.share(drainShare))
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			_ = s.server.Close()
			drained = fmt.Errorf("drain HTTP: %w", err)
		}
		if err := s.receiver.Close(ctx); err != nil {
			drained = errors.Join(drained, fmt.Errorf("commit the last deliveries: %w", err))
		}
		drained = errors.Join(drained, s.receiver.RequestRecovery(ctx)) // this process cannot do it later
	})
	both.Go(func() { worked = s.stopWorker(ctx) })
	both.Wait()
	loops.Wait()
	s.log.Info("stopped")
	return errors.Join(drained, worked)
}

func (s *Service) stopWorker(ctx context.Context) error {
	if s.worker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.share(hardStopShare))
	defer cancel()
	if err := s.worker.Stop(ctx); err != nil {
		return fmt.Errorf("stop the workers (their jobs are tried again later): %w", err)
	}
	return nil
}

// share returns a part of SHUTDOWN_TIMEOUT.
func (s *Service) share(part float64) time.Duration {
	return time.Duration(part * float64(s.config.Lifecycle.ShutdownTimeout))
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
