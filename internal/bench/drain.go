package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/retry"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
)

// drain stores events first, then starts the workers and measures until the
// mirror holds every document.
func drain(ctx context.Context, url string, events int) error {
	pool, err := freshPool(ctx, url, 10)
	if err != nil {
		return err
	}
	defer pool.Close()
	fake, err := fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(false, false), Token: "bench-read-only-token",
		Latency: fakestrapi.Latency{Request: 5 * time.Millisecond, Document: 100 * time.Microsecond},
	})
	if err != nil {
		return err
	}
	defer func() { _ = fake.Close() }()
	server, err := fake.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = server.Close(context.WithoutCancel(ctx)) }()

	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		return err
	}
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	queue := mirror.NewQueue(inserter)
	receiver := inbox.NewReceiver(pool, queue, alerts, inbox.Config{Types: contentTypes})
	defer func() { _ = receiver.Close(context.WithoutCancel(ctx)) }()
	if err := store(ctx, fake, receiver, events); err != nil {
		return err
	}
	worker, err := newWorker(pool, inserter, queue, alerts, server.URL)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := worker.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = worker.Stop(context.WithoutCancel(ctx)) }()
	if err := waitDrained(ctx, pool, events); err != nil {
		return err
	}
	took := time.Since(start)
	fmt.Printf("  one GET a document, 50 workers  %8.0f events/s   %s\n", float64(events)/took.Seconds(), took.Round(10*time.Millisecond))
	return nil
}

// store makes the documents and delivers one event about each.
func store(ctx context.Context, fake *fakestrapi.Strapi, receiver *inbox.Receiver, events int) error {
	results := make(chan error, events)
	for i := range events {
		entry, err := fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "status": "active", "deal_value": 1000})
		if err != nil {
			return err
		}
		body := fmt.Sprintf(`{"event":"entry.create","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q}}`, fakestrapi.DealUID, entry.DocumentID)
		go func() {
			_, err := receiver.Receive(ctx, inbox.Delivery{Scheme: strapi.SchemeStandard, ID: entry.DocumentID, Body: []byte(body)})
			results <- err
		}()
	}
	for range events {
		if err := <-results; err != nil {
			return err
		}
	}
	return nil
}

func newWorker(pool *pgxpool.Pool, inserter *jobs.Client, queue *mirror.Queue, alerts *alerting.Alerts, url string) (*jobs.Client, error) {
	client, err := strapi.New(strapi.Config{BaseURL: url, Token: "bench-read-only-token"})
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	forecast := revenue.New(revenue.Config{Currency: "THB"}, inserter)
	workers := river.NewWorkers()
	river.AddWorker(workers, mirror.NewSyncWorker(pool, queue, client, circuit.New(pool, circuit.Config{Logger: quiet}), forecast, alerts,
		mirror.Config{Types: contentTypes, MaxAttempts: 12, Retry: retry.Policy{MaxRetries: 3, InitialDelay: time.Second, MaxDelay: time.Minute}, Logger: quiet}))
	river.AddWorker(workers, revenue.NewRecomputeWorker(forecast, pool, quiet))
	return jobs.NewWorker(pool, nil, nil, jobs.Work{
		Workers: workers, SoftStop: 5 * time.Second,
		Queues: map[string]river.QueueConfig{jobs.QueueSync: {MaxWorkers: 50}, jobs.QueueForecast: {MaxWorkers: 1}},
	})
}

func waitDrained(ctx context.Context, pool *pgxpool.Pool, events int) error {
	for {
		ledger, err := dbsqlc.New().InboxLedger(ctx, pool)
		if err != nil {
			return err
		}
		if ledger.Processed == int64(events) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
