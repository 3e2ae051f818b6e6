package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/inbox"
	"dealbox/internal/webhooksig"
)

const (
	sickDocuments = 1000
	sickIll       = 30
	sickPerSecond = 200
)

// sick measures a Strapi of which something always fails: 200 webhooks a second about
// 1,000 deals, first with all well, then with 30 documents that answer 500, then with
// 5 % of all requests answered 500 by chance, each for so long.
func sick(ctx context.Context, url string, each time.Duration) error {
	s, err := newStack(ctx, url)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	receiver := inbox.NewReceiver(s.pool, s.queue, s.runs, s.alerts, inbox.Config{Types: contentTypes})
	defer func() { _ = receiver.Close(context.WithoutCancel(ctx)) }()
	var ids []string
	for i := range sickDocuments {
		id, err := create(s.fake, i)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := s.worker.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.worker.Stop(context.WithoutCancel(ctx)) }()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go s.sync.Watch(watched)
	go s.breaker.Run(watched, time.Second, s.sync.Probe, s.sync.BreakerClosed)

	fault := fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: http.StatusInternalServerError}
	illOnes, some := fault, fault
	illOnes.Documents, some.Share = ids[:sickIll], 0.05
	for _, c := range []struct {
		name   string
		faults []fakestrapi.Fault
		well   []string
	}{
		{"all well", nil, ids},
		{fmt.Sprintf("%d of %d documents answer 500", sickIll, sickDocuments), []fakestrapi.Fault{illOnes}, ids[sickIll:]},
		{"5 % of all requests answer 500", []fakestrapi.Fault{some}, ids},
	} {
		s.fake.Faults.Set(c.faults...)
		if err := sickCase(ctx, s.pool, receiver, c.name, ids, c.well, each); err != nil {
			return err
		}
	}
	return nil
}

// sickCase sends webhooks about the documents and prints what became of them.
func sickCase(ctx context.Context, pool *pgxpool.Pool, receiver *inbox.Receiver, name string, ids, well []string, each time.Duration) error {
	began := time.Now()
	tick := time.NewTicker(time.Second / sickPerSecond)
	defer tick.Stop()
	sent, errs := 0, make(chan error, 1)
	for ; time.Since(began) < each; sent++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			return err
		case <-tick.C:
		}
		id := ids[rand.IntN(len(ids))]
		body := fmt.Sprintf(`{"event":"entry.update","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q}}`, fakestrapi.DealUID, id)
		delivery := inbox.Delivery{Scheme: webhooksig.SchemeStandard, ID: name + strconv.Itoa(sent), Body: []byte(body)}
		go func() {
			if _, err := receiver.Receive(ctx, delivery); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		}()
	}
	var open, p50, p99 float64
	var opened, dead, unusable int
	// A sync job's time from the webhook to its end, of documents that are well.
	err := pool.QueryRow(ctx, `
		WITH took AS (SELECT extract(epoch FROM finalized_at - created_at) * 1000 AS ms FROM river.river_job
		              WHERE kind = 'mirror_sync' AND state = 'completed' AND created_at >= $1 AND args->>'document_id' = ANY ($2)),
		moves AS (SELECT at, to_state, coalesce(lead(at) OVER (ORDER BY id), now()) AS until FROM circuit_breaker_event)
		SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0), coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), 0),
		       (SELECT coalesce(sum(extract(epoch FROM until - greatest(at, $1))), 0) FROM moves WHERE to_state <> 'closed' AND until > $1),
		       (SELECT count(*) FROM moves WHERE to_state = 'open' AND at >= $1),
		       (SELECT count(*) FROM entity_sync WHERE state = 'dead'),
		       (SELECT count(*) FROM alert WHERE rule = 'strapi_unusable' AND last_seen >= $1)
		FROM took`, began, slices.Clone(well)).Scan(&p50, &p99, &open, &opened, &dead, &unusable)
	if err != nil {
		return err
	}
	fmt.Printf("  %-36s %6d webhooks   share of time open %.3f (%d times)   healthy p50 %6.1fms   p99 %6.1fms   dead letters %d   type held %d times\n",
		name, sent, open/time.Since(began).Seconds(), opened, p50, p99, dead, unusable)
	return nil
}
