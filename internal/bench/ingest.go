package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/health"
	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/reconcile"
	"dealbox/internal/revenue"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// contentTypes are those of the simulated Strapi.
var contentTypes = []strapi.ContentType{
	{Kind: strapi.Deal, UID: "api::pipeline-deal.pipeline-deal", Plural: "pipeline-deals"},
	{Kind: strapi.Billing, UID: "api::billing.billing", Plural: "billings"},
}

type receive = func(context.Context, inbox.Delivery) (inbox.Receipt, error)

// ingest measures the whole handler three times: as it is, with one transaction
// a request, and with no database at all.
func ingest(ctx context.Context, url string, n, connections int) error {
	grouped, err := withReceiver(ctx, url, n, connections, "grouped", inbox.Config{Types: contentTypes, Writers: 3})
	if err != nil {
		return err
	}
	single, err := withReceiver(ctx, url, n/3, connections, "single", inbox.Config{Types: contentTypes, Writers: 16, MaxGroup: 1})
	if err != nil {
		return err
	}
	pool, err := freshPool(ctx, url, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	none, err := measure(ctx, pool, noDatabase, n, connections, "none")
	if err != nil {
		return err
	}
	fmt.Printf("  durable, group commit          %s\n", grouped)
	fmt.Printf("  durable, a transaction each    %s\n", single)
	fmt.Printf("  the handler without database   %s\n", none)
	fmt.Printf("  group commit is %.1f x a transaction each, %.2f x no database\n",
		grouped.perSecond/single.perSecond, grouped.perSecond/none.perSecond)
	return nil
}

// noDatabase does what Receive does before the database.
func noDatabase(_ context.Context, d inbox.Delivery) (inbox.Receipt, error) {
	env, err := strapi.ParseEnvelope(d.Body)
	return inbox.Receipt{EventID: uuid.Must(uuid.NewV7()), Event: env.Event, Entity: env.Model, Action: inbox.ActionRecompute}, err
}

func withReceiver(ctx context.Context, url string, n, connections int, prefix string, config inbox.Config) (rates, error) {
	pool, err := freshPool(ctx, url, int32(config.Writers)+2)
	if err != nil {
		return rates{}, err
	}
	defer pool.Close()
	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		return rates{}, err
	}
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	receiver := inbox.NewReceiver(pool, mirror.NewQueue(inserter), reconcile.NewQueue(inserter), alerts, config)
	r, err := measure(ctx, pool, receiver.Receive, n, connections, prefix)
	if closeErr := receiver.Close(ctx); err == nil {
		err = closeErr
	}
	return r, err
}

// measure serves the real routes and loads them, after a short warm-up.
func measure(ctx context.Context, pool *pgxpool.Pool, receive receive, n, connections int, prefix string) (rates, error) {
	verifier, err := webhooksig.NewVerifier(webhooksig.Config{Secrets: []string{secret}})
	if err != nil {
		return rates{}, err
	}
	readiness := &health.Readiness{}
	readiness.Ready()
	api, err := httpapi.New(httpapi.Config{}, httpapi.Stages{
		DB: pool, Verifier: verifier, Receive: receive, Commits: health.NewCommits(pool.Ping), Readiness: readiness,
		Alerts:  alerting.New(alerting.Config{}, notify.New(notify.Config{}, nil)),
		Breaker: circuit.New(pool, circuit.Config{}), Forecast: revenue.New(revenue.Config{Currency: "THB"}, nil),
		Replays: inbox.NewReplayer(pool, nil, nil), Reconcile: reconcile.NewQueue(nil).Request,
	})
	if err != nil {
		return rates{}, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return rates{}, err
	}
	server := api.Server()
	go func() { _ = server.Serve(listener) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}()
	address := listener.Addr().String()
	if _, err := load(ctx, address, connections, requests(n/10, prefix+"w")); err != nil {
		return rates{}, err
	}
	return load(ctx, address, connections, requests(n, prefix))
}
