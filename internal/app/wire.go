package app

import (
	"context"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/health"
	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/reconcile"
	"dealbox/internal/retention"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// New wires every part. It connects to nothing.
func New(ctx context.Context, config Config, role, version string, logger *slog.Logger) (*Service, error) {
	s := &Service{config: config, role: role, log: logger, clock: &jobs.Clock{}, readiness: &health.Readiness{}}
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

func (s *Service) openPools(ctx context.Context) (err error) {
	ingest, work, reads := poolShares(s.config.Database.MaxConns)
	for _, p := range []struct {
		pool    **pgxpool.Pool
		options PoolOptions
	}{{&s.ingestPool, ingest}, {&s.pool, work}, {&s.readPool, reads}} {
		if *p.pool, err = OpenPool(ctx, s.config.Database.URL, p.options); err != nil {
			return err
		}
	}
	return nil
}

// wire makes the stages, the last one first, because each calls the door of the next.
func (s *Service) wire(version string) error {
	config, logger := s.config, s.log
	inserter, err := jobs.NewInserter(s.pool, s.clock, logger)
	if err != nil {
		return err
	}
	channels, err := NotifyConfig(config, version)
	if err != nil {
		return err
	}
	outbox := notify.New(channels, inserter)
	s.direct = newDirectNotifier(channels, config.Alerts.RemindEvery, logger)
	s.host, _ = os.Hostname() // without a name its alerts have no subject
	s.alerts = alerting.New(alerting.Config{RemindEvery: config.Alerts.RemindEvery, StrapiAdminURL: config.Alerts.StrapiAdminURL}, outbox)
	s.forecast = revenue.New(revenue.Config{
		Currency: config.Forecast.Currency, Locale: config.Forecast.Locale,
		HorizonMonths: config.Forecast.HorizonMonths, Location: config.Forecast.Location,
		Alerts: s.alerts, SwingPercent: config.Forecast.SwingPercent,
	}, inserter)
	s.breaker = circuit.New(s.pool, circuit.Config{
		FailureThreshold: config.Circuit.FailureThreshold, RecoveryTimeout: config.Circuit.RecoveryTimeout,
		ProbeLease: 2 * config.Strapi.Timeout, Logger: logger, OnTransition: BreakerAlerts(s.alerts),
	})
	config.Retry.Try = config.Strapi.Timeout
	client, err := strapi.New(strapi.Config{
		BaseURL: config.Strapi.URL, Token: config.Strapi.APIToken.Reveal(), Timeout: config.Strapi.Timeout,
		UserAgent: "dealbox/" + version,
	})
	if err != nil {
		return err
	}
	s.queue, s.runs = mirror.NewQueue(inserter), reconcile.NewQueue(inserter)
	s.source = mirror.NewSource(s.pool, client, s.breaker, config.Retry, config.Strapi.Types)
	s.sync = mirror.NewSyncWorker(s.pool, s.queue, s.source, s.forecast, s.alerts, mirror.Config{
		Types: config.Strapi.Types, MaxAttempts: config.Jobs.MaxAttempts, Logger: logger,
	})
	s.receiver = inbox.NewReceiver(s.ingestPool, s.queue, s.runs, s.alerts, inbox.Config{
		Types: config.Strapi.Types, Writers: int(s.ingestPool.Config().MaxConns),
	})
	s.commits = health.NewCommits(s.receiver.Probe)
	s.replays = inbox.NewReplayer(s.pool, s.queue, config.Strapi.Types)
	if s.worker, err = s.newWorker(outbox); err != nil {
		return err
	}
	return s.newServer(version, outbox.Channels())
}

// newWorker returns nil in a process with role api: it starts no River client, so it
// never becomes River's leader.
func (s *Service) newWorker(outbox *notify.Outbox) (*jobs.Client, error) {
	if s.role == RoleAPI {
		return nil, nil
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, s.sync)
	river.AddWorker(workers, mirror.NewLocalesWorker(s.sync))
	river.AddWorker(workers, reconcile.NewWorker(s.pool, s.runs, s.queue, s.source, s.alerts, reconcile.Config{
		Types: s.config.Strapi.Types, Interval: s.config.Reconcile.Interval, FullInterval: s.config.Reconcile.FullInterval,
		Overlap: s.config.Reconcile.Overlap,
		Requeue: []func(context.Context, pgx.Tx) error{s.queue.RequeueOrphans, outbox.RequeueOrphans, s.forecast.RequeueOrphans},
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
			inbox.PartitionSchedule(), reconcile.Schedule(), alerting.ReviewSchedule(), retention.Schedule(),
		},
		SoftStop: s.share(softStopShare),
	})
}

func (s *Service) newServer(version string, channels []string) error {
	verifier, err := webhooksig.NewVerifier(verifierConfig(s.config.Webhook))
	if err != nil {
		return err
	}
	api, err := httpapi.New(httpapi.Config{
		Version: version, Access: accessConfig(s.config.Access),
		CORSOrigins: s.config.Access.CORSOrigins, TrustedProxies: s.config.Access.TrustedProxies, Logger: s.log,
		ReconcileInterval: s.config.Reconcile.Interval, MaxBody: s.config.Webhook.MaxBytes, HealthOnly: s.role == RoleWorker,
		Channels: channels, WebhookURL: s.config.Listen.URL() + WebhookPath,
	}, httpapi.Stages{
		DB: s.readPool, Verifier: verifier, Receive: s.receiver.Receive, Commits: s.commits, Breaker: s.breaker, Forecast: s.forecast, Readiness: s.readiness,
		Alerts: s.alerts, Types: s.config.Strapi.Types, Replays: s.replays, Reconcile: s.runs.Request, Refresh: s.queue.EnqueueNamed, Groups: s.receiver.Groups,
	})
	if err != nil {
		return err
	}
	s.server, s.signatures = api.Server(), api.TakeSignatures
	return nil
}

func verifierConfig(w WebhookConfig) webhooksig.Config {
	c := webhooksig.Config{Schemes: w.Schemes, Tolerance: w.Tolerance, Token: w.Token.Reveal()}
	for _, s := range w.Secrets {
		c.Secrets = append(c.Secrets, s.Reveal())
	}
	return c
}

func accessConfig(access AccessConfig) httpapi.Access {
	c := httpapi.Access{APIToken: access.APIToken.Reveal(), PublicReads: access.PublicReads}
	for _, t := range access.AdminTokens {
		c.AdminTokens = append(c.AdminTokens, httpapi.AdminToken{Name: t.Name, Token: t.Token.Reveal()})
	}
	return c
}
