package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/reconcile"
	"dealbox/internal/retry"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
)

// stack is a mirror and its forecast on an empty database, beside a simulated
// Strapi that takes 5 ms a request and 0.1 ms a document.
type stack struct {
	pool    *pgxpool.Pool
	fake    *fakestrapi.Strapi
	server  *fakestrapi.Server
	queue   *mirror.Queue
	runs    *reconcile.Queue
	alerts  *alerting.Alerts
	worker  *jobs.Client // not started
	sync    *mirror.SyncWorker
	breaker *circuit.Breaker
}

const benchToken = "bench-read-only-token"

func newStack(ctx context.Context, url string) (s *stack, err error) {
	s = &stack{}
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	if s.pool, err = freshPool(ctx, url, 10); err != nil {
		return s, err
	}
	s.fake, err = fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(false, false), Token: benchToken,
		Latency: fakestrapi.Latency{Request: 5 * time.Millisecond, Document: 100 * time.Microsecond},
	})
	if err != nil {
		return s, err
	}
	if s.server, err = s.fake.Listen("127.0.0.1:0"); err != nil {
		return s, err
	}
	inserter, err := jobs.NewInserter(s.pool, nil, nil)
	if err != nil {
		return s, err
	}
	s.alerts = alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	s.queue, s.runs = mirror.NewQueue(inserter), reconcile.NewQueue(inserter)
	return s, s.newWorker(inserter)
}

func (s *stack) newWorker(inserter *jobs.Client) (err error) {
	client, err := strapi.New(strapi.Config{BaseURL: s.server.URL, Token: benchToken})
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	forecast := revenue.New(revenue.Config{Currency: "THB"}, inserter)
	s.breaker = circuit.New(s.pool, circuit.Config{Logger: quiet})
	source := mirror.NewSource(s.pool, client, s.breaker,
		retry.Policy{MaxRetries: 3, InitialDelay: time.Second, MaxDelay: time.Minute}, contentTypes)
	s.sync = mirror.NewSyncWorker(s.pool, s.queue, source, forecast, s.alerts, mirror.Config{Types: contentTypes, MaxAttempts: 12, Logger: quiet})
	workers := river.NewWorkers()
	river.AddWorker(workers, s.sync)
	// Only requested runs: one of the schedule would be measured with them.
	river.AddWorker(workers, reconcile.NewWorker(s.pool, s.runs, s.queue, source, s.alerts,
		reconcile.Config{Types: contentTypes, Interval: 24 * time.Hour, FullInterval: 24 * time.Hour}))
	river.AddWorker(workers, revenue.NewRecomputeWorker(forecast, s.pool, quiet))
	s.worker, err = jobs.NewWorker(s.pool, nil, nil, jobs.Work{
		Workers: workers, SoftStop: 5 * time.Second,
		Queues: map[string]river.QueueConfig{
			jobs.QueueSync: {MaxWorkers: 50}, jobs.QueueForecast: {MaxWorkers: 1}, jobs.QueueMaintenance: {MaxWorkers: 1},
		},
	})
	return err
}

func (s *stack) close(ctx context.Context) {
	if s.server != nil {
		_ = s.server.Close(context.WithoutCancel(ctx))
	}
	if s.fake != nil {
		_ = s.fake.Close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
}
