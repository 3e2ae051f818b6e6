package main

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
	"github.com/riverqueue/river"

	"dealbox/db/migrations"
	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/retention"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// Roles of a process.
const (
	roleAll    = "all"
	roleAPI    = "api"
	roleWorker = "worker"
)

// Shutdown: HTTP drains and River's running jobs finish at the same time; what
// is left of SHUTDOWN_TIMEOUT after the hard stop is for closing the pools.
const (
	drainShare    = 0.40 // of SHUTDOWN_TIMEOUT: 8 s of 20 s
	softStopShare = 0.60 // 12 s
	hardStopShare = 0.75 // 15 s
)

// recoveryCheckInterval is how soon after an outage of Postgres Dealbox asks for what was refused.
const recoveryCheckInterval = 5 * time.Second

// Run is `dealbox serve`.
func (c *ServeCmd) Run(ctx context.Context, a *app) error {
	config, err := loadConfig(a.getenv, everything...)
	if err != nil {
		return err
	}
	logger := newLogger(a.stderr, config.Log)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Listen.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s (LISTEN_ADDR, PORT): %w", config.Listen.Addr, err)
	}
	s, err := newService(ctx, config, c.Role, a.version, logger)
	if err != nil {
		_ = listener.Close()
		return err
	}
	return s.run(ctx, listener)
}

// service is all the parts, wired.
type service struct {
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
	replays    *inbox.Replayer
	sync       *mirror.SyncWorker
	breaker    *circuit.Breaker
	worker     *jobs.Client
	readiness  *httpapi.Readiness
	server     *http.Server
	signatures func() alerting.SignatureWindow // what the webhook refused of late
}

// newService wires everything. It connects to nothing.
func newService(ctx context.Context, config Config, role, version string, logger *slog.Logger) (*service, error) {
	s := &service{config: config, role: role, log: logger, clock: &jobs.Clock{}, readiness: &httpapi.Readiness{}}
	if err := s.openPools(ctx); err != nil {
		s.closePools()
		return nil, err
	}
	if err := s.wire(version); err != nil {
		s.closePools()
		return nil, err
	}
	return s, nil
}

func (s *service) openPools(ctx context.Context) (err error) {
	ingest, work, reads := poolShares(s.config.Database.MaxConns)
	for _, p := range []struct {
		pool    **pgxpool.Pool
		options poolOptions
	}{{&s.ingestPool, ingest}, {&s.pool, work}, {&s.readPool, reads}} {
		if *p.pool, err = openPool(ctx, s.config.Database.URL, p.options); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) closePools() {
	for _, pool := range []*pgxpool.Pool{s.ingestPool, s.pool, s.readPool} {
		if pool != nil {
			pool.Close()
		}
	}
}

// wire makes the stages, the last one first, because each is given the door of
// the next.
func (s *service) wire(version string) error {
	config, logger := s.config, s.log
	inserter, err := jobs.NewInserter(s.pool, s.clock, logger)
	if err != nil {
		return err
	}
	channels, err := notifyConfig(config, version)
	if err != nil {
		return err
	}
	outbox := notify.New(channels, inserter)
	s.alerts = alerting.New(alerting.Config{RemindEvery: config.Alerts.RemindEvery}, outbox)
	s.forecast = revenue.New(revenue.Config{
		Currency: config.Forecast.Currency, Locale: config.Forecast.Locale,
		HorizonMonths: config.Forecast.HorizonMonths, Location: config.Forecast.Location,
		Alerts: s.alerts, SwingPercent: config.Forecast.SwingPercent,
	}, inserter)
	s.breaker = circuit.New(s.pool, circuit.Config{
		FailureThreshold: config.Circuit.FailureThreshold, RecoveryTimeout: config.Circuit.RecoveryTimeout,
		ProbeLease: 2 * config.Strapi.Timeout, Logger: logger, OnTransition: breakerAlerts(s.alerts),
	})
	config.Retry.Try = config.Strapi.Timeout
	client, err := strapi.New(strapi.Config{
		BaseURL: config.Strapi.URL, Token: config.Strapi.APIToken.reveal(), Timeout: config.Strapi.Timeout,
		UserAgent: "dealbox/" + version,
	})
	if err != nil {
		return err
	}
	s.queue = mirror.NewQueue(inserter)
	s.sync = mirror.NewSyncWorker(s.pool, s.queue, client, s.breaker, s.forecast, s.alerts, mirror.Config{
		Types: config.Strapi.Types, MaxAttempts: config.Jobs.MaxAttempts, Retry: config.Retry, Logger: logger,
	})
	s.receiver = inbox.NewReceiver(s.ingestPool, s.queue, s.alerts, inbox.Config{
		Types: config.Strapi.Types, Writers: int(s.ingestPool.Config().MaxConns),
	})
	s.replays = inbox.NewReplayer(s.pool, s.queue, config.Strapi.Types)
	if s.worker, err = s.newWorker(outbox); err != nil {
		return err
	}
	return s.newServer(version)
}

// newWorker is nil in an API-only process: such a client is never started, so
// it never leads.
func (s *service) newWorker(outbox *notify.Outbox) (*jobs.Client, error) {
	if s.role == roleAPI {
		return nil, nil
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, s.sync)
	river.AddWorker(workers, mirror.NewLocalesWorker(s.sync))
	river.AddWorker(workers, mirror.NewReconcileWorker(s.sync, mirror.ReconcileConfig{
		Interval: s.config.Reconcile.Interval, FullInterval: s.config.Reconcile.FullInterval,
		Overlap: s.config.Reconcile.Overlap, Outbox: outbox,
	}))
	river.AddWorker(workers, retention.NewWorker(s.pool, s.config.Retention))
	river.AddWorker(workers, revenue.NewRecomputeWorker(s.forecast, s.pool, s.log))
	river.AddWorker(workers, notify.NewSendWorker(s.pool, outbox, s.alerts.RecordNotification, s.log))
	river.AddWorker(workers, inbox.NewPartitionWorker(s.pool, s.alerts))
	river.AddWorker(workers, alerting.NewReviewWorker(s.pool, s.alerts))
	return jobs.NewWorker(s.pool, s.clock, s.log, jobs.Work{
		Workers: workers,
		Queues: map[string]river.QueueConfig{
			jobs.QueueSync:        {MaxWorkers: s.config.Jobs.WorkerCount},
			jobs.QueueForecast:    {MaxWorkers: 1},
			jobs.QueueNotify:      {MaxWorkers: 4},
			jobs.QueueMail:        {MaxWorkers: 2},
			jobs.QueueMaintenance: {MaxWorkers: 2},
		},
		Periodic: []*river.PeriodicJob{
			inbox.PartitionSchedule(), mirror.ReconcileSchedule(), alerting.ReviewSchedule(), retention.Schedule(),
		},
		SoftStop: s.share(softStopShare),
	})
}

func (s *service) newServer(version string) error {
	verifier, err := webhooksig.NewVerifier(verifierConfig(s.config.Webhook))
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Version: version, Access: accessConfig(s.config.Access),
		CORSOrigins: s.config.Access.CORSOrigins, TrustedProxies: s.config.Access.TrustedProxies, Logger: s.log,
		ReconcileInterval: s.config.Reconcile.Interval,
	}, httpapi.Stages{
		DB: s.readPool, Verifier: verifier, Receive: s.receiver.Receive, Breaker: s.breaker, Forecast: s.forecast, Readiness: s.readiness,
		Alerts: s.alerts, Types: s.config.Strapi.Types, Replays: s.replays, Reconcile: s.queue.Reconcile, Groups: s.receiver.Groups,
	})
	if err != nil {
		return err
	}
	s.server, s.signatures = api.Server(), api.TakeSignatures
	return nil
}

func verifierConfig(w WebhookConfig) webhooksig.VerifierConfig {
	c := webhooksig.VerifierConfig{Schemes: w.Schemes, Tolerance: w.Tolerance, Token: w.Token.reveal()}
	for _, s := range w.Secrets {
		c.Secrets = append(c.Secrets, s.reveal())
	}
	return c
}

func accessConfig(access AccessConfig) httpapi.Access {
	c := httpapi.Access{APIToken: access.APIToken.reveal(), PublicReads: access.PublicReads}
	for _, t := range access.AdminTokens {
		c.AdminTokens = append(c.AdminTokens, httpapi.AdminToken{Name: t.Name, Token: t.Token.reveal()})
	}
	return c
}

// breakerAlerts raises in the transaction of the transition. The breaker itself
// knows nothing of alerts: imports never turn back.
func breakerAlerts(alerts *alerting.Alerts) func(context.Context, pgx.Tx, circuit.Transition) error {
	return func(ctx context.Context, tx pgx.Tx, t circuit.Transition) error {
		if t.To == circuit.Closed {
			_, err := alerts.Resolve(ctx, tx, alerting.RuleBreakerOpened, t.Name, "the breaker closed: "+t.Reason)
			return err
		}
		if t.To != circuit.Open || t.From == circuit.HalfOpen {
			return nil // a probe that failed is the same outage
		}
		_, err := alerts.Raise(ctx, tx, alerting.Alert{
			Rule: alerting.RuleBreakerOpened, Subject: t.Name, Level: level.Critical,
			Message: breakerMessage(t),
			Details: map[string]any{"failure_count": t.FailureCount, "reason": t.Reason, "actor": t.Actor},
		})
		return err
	}
}

func breakerMessage(t circuit.Transition) string {
	if t.Forced {
		return fmt.Sprintf("%s holds the breaker open (%s): Dealbox does not ask Strapi and keeps every webhook", t.Actor, t.Reason)
	}
	return fmt.Sprintf("Strapi does not answer (%s): Dealbox stopped asking and keeps every webhook until it does", t.Reason)
}

func (s *service) share(part float64) time.Duration {
	return time.Duration(part * float64(s.config.Lifecycle.ShutdownTimeout))
}

// run serves until ctx ends, then stops in order. HTTP answers from the start,
// so that /healthz and /readyz tell what Dealbox waits for.
func (s *service) run(ctx context.Context, listener net.Listener) error {
	defer s.closePools()
	serving := make(chan error, 1)
	go func() { serving <- s.server.Serve(listener) }()
	s.log.Info("listening", "address", listener.Addr().String(), "role", s.role)

	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	loops, err := s.start(work)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-serving:
			err = fmt.Errorf("serve HTTP: %w", err)
		}
	}
	stopWork()
	stopErr := s.stop(context.WithoutCancel(ctx), loops)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // asked to stop while it was waiting
	}
	return errors.Join(err, stopErr)
}

// start waits for the database and starts the work. The returned group ends
// after ctx does.
func (s *service) start(ctx context.Context) (*sync.WaitGroup, error) {
	var loops sync.WaitGroup
	if err := waitForDatabase(ctx, s.pool, s.log); err != nil {
		return &loops, err
	}
	if err := s.retryUntilDone(ctx, func() error { return migrations.Check(ctx, s.pool) }); err != nil {
		return &loops, err
	}
	if err := inbox.MakePartitions(ctx, s.pool); err != nil {
		// Readiness looks at today's partition, and the hourly job tries again.
		s.log.Error("partitions could not be made at start", "error", err)
	}
	s.readiness.Ready()
	host, _ := os.Hostname() // without a name its alerts have no subject
	skew := &skewWatch{host: host, pool: s.pool, alerts: s.alerts, clock: s.clock, log: s.log}
	signatures := &signatureWatch{take: s.signatures, pool: s.pool, alerts: s.alerts, log: s.log}
	loops.Go(func() { signatures.run(ctx) })
	loops.Go(func() { s.requestRecovery(ctx) })
	if s.role == roleAPI {
		loops.Go(func() { skew.run(ctx) })
		return &loops, nil
	}
	if err := skew.waitUntilSane(ctx); err != nil {
		return &loops, err
	}
	if err := s.retryUntilDone(ctx, func() error { return s.requestInitialRuns(ctx) }); err != nil {
		return &loops, err
	}
	if err := s.retryUntilDone(ctx, func() error {
		// Not ctx: a job that runs when the stop is asked for may finish.
		if err := s.worker.Start(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("start the workers: %w", err)
		}
		return nil
	}); err != nil {
		return &loops, err
	}
	loops.Go(func() { skew.run(ctx) })
	loops.Go(func() { s.breaker.Run(ctx, time.Second, s.sync.Probe) })
	loops.Go(func() { s.sync.Watch(ctx) })
	if url := s.config.Heartbeat.URL; url != "" {
		loops.Go(func() { newHeartbeat(url, s.pool, s.log).run(ctx) })
	}
	s.log.Info("ready", "workers", s.config.Jobs.WorkerCount)
	return &loops, nil
}

// retryUntilDone takes a step of the start until it is done: the database may go away
// again after it answered, and a process that takes webhooks must not end for
// that. Only a schema that is behind is final.
func (s *service) retryUntilDone(ctx context.Context, step func() error) error {
	for {
		err := step()
		if err == nil || errors.Is(err, migrations.ErrBehind) {
			return err
		}
		if stopped := pause(ctx, waitEvery); stopped != nil {
			return fmt.Errorf("%w; the last step of the start failed: %w", stopped, err)
		}
		s.log.WarnContext(ctx, "a step of the start failed and is taken again", "error", err)
	}
}

// requestInitialRuns asks for what may have been missed while Dealbox was stopped: the
// currency or the rules may be others, and webhooks came to nobody.
func (s *service) requestInitialRuns(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := s.queue.Reconcile(ctx, tx, mirror.Request{Extent: mirror.Full, Trigger: mirror.TriggerStart}); err != nil {
			return err
		}
		return s.forecast.Request(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("ask for a first reconciliation and forecast: %w", err)
	}
	return nil
}

// requestRecovery looks every few seconds whether webhooks were refused while Postgres was
// away. A delivery makes it good, too, but the next one may be hours away.
func (s *service) requestRecovery(ctx context.Context) {
	for pause(ctx, recoveryCheckInterval) == nil {
		if err := s.receiver.RequestRecovery(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "webhooks were refused, and that is not made good yet", "error", err)
		}
	}
}

// stop drains HTTP and softly stops River at the same time, then commits what
// the receiver still holds.
func (s *service) stop(ctx context.Context, loops *sync.WaitGroup) error {
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

func (s *service) stopWorker(ctx context.Context) error {
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
