package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/inbox"
	"dealbox/internal/webhooksig"
)

// drain stores events first, then starts the workers and measures until the
// mirror holds every document.
func drain(ctx context.Context, url string, events int) error {
	s, err := newStack(ctx, url)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	receiver := inbox.NewReceiver(s.pool, s.queue, s.runs, s.alerts, inbox.Config{Types: contentTypes})
	defer func() { _ = receiver.Close(context.WithoutCancel(ctx)) }()
	if err := store(ctx, s.fake, receiver, events); err != nil {
		return err
	}
	start := time.Now()
	if err := s.worker.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.worker.Stop(context.WithoutCancel(ctx)) }()
	if err := waitDrained(ctx, s.pool, events); err != nil {
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
		id, err := create(fake, i)
		if err != nil {
			return err
		}
		body := fmt.Sprintf(`{"event":"entry.create","model":"pipeline-deal","uid":%q,"entry":{"documentId":%q}}`, fakestrapi.DealUID, id)
		go func() {
			_, err := receiver.Receive(ctx, inbox.Delivery{Scheme: webhooksig.SchemeStandard, ID: id, Body: []byte(body)})
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

// create makes a deal in Strapi.
func create(fake *fakestrapi.Strapi, n int) (documentID string, err error) {
	entry, err := fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", n), "status": "active", "deal_value": 1000})
	return entry.DocumentID, err
}

func waitDrained(ctx context.Context, pool *pgxpool.Pool, events int) error {
	return poll(ctx, func() (bool, error) {
		ledger, err := dbsqlc.New().InboxLedger(ctx, pool)
		return ledger.Processed == int64(events), err
	})
}

// poll asks every 20 ms until the answer is yes.
func poll(ctx context.Context, is func() (bool, error)) error {
	for {
		if yes, err := is(); err != nil || yes {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
