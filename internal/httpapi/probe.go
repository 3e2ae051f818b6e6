package httpapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
	"dealbox/internal/revenue"
)

const (
	// DefaultProbeTimeout bounds all statements of a probe together: an unhealthy
	// answer is due within 2 s.
	DefaultProbeTimeout = 1500 * time.Millisecond
	// probeAge is how old the answers may be that need no token. It bounds what
	// strangers can make the database do to one probe a second.
	probeAge = time.Second
)

// gather reads what health is judged by, over one connection. What fails is
// left nil; after the main query, one part's failure does not hide the others.
func (a *API) gather(ctx context.Context) facts {
	ctx, cancel := context.WithTimeout(ctx, a.config.ProbeTimeout)
	defer cancel()
	f := facts{at: time.Now(), reconcileEvery: a.config.ReconcileInterval}
	conn, err := a.stages.DB.Acquire(ctx)
	if err != nil {
		f.err = fmt.Errorf("connect to the database: %w", err)
		return f
	}
	defer conn.Release()
	if f.err = f.readCore(ctx, conn); f.err != nil {
		return f
	}
	f.breaker = part(&f, func() (circuit.Snapshot, error) { return a.stages.Breaker.Snapshot(ctx, conn) })
	f.outbox = part(&f, func() (notify.Stats, error) { return notify.ReadStats(ctx, conn) })
	f.alerts = part(&f, func() (alerting.Summary, error) { return alerting.Summarize(ctx, conn) })
	f.outlook = part(&f, func() (revenue.Status, error) { return a.stages.Forecast.Status(ctx, conn) })
	f.reconciliation = part(&f, func() (dbsqlc.ReconciliationStateRow, error) {
		return dbsqlc.New().ReconciliationState(ctx, conn, alerting.RuleReconciliationFailing)
	})
	f.queues = part(&f, func() ([]dbsqlc.HealthQueuesRow, error) { return dbsqlc.New().HealthQueues(ctx, conn) })
	return f
}

// readCore makes the main query. Its middle is the moment that the database's
// clock is compared with.
func (f *facts) readCore(ctx context.Context, db dbsqlc.DBTX) error {
	start := time.Now()
	core, err := dbsqlc.New().HealthFacts(ctx, db, dbsqlc.HealthFactsParams{
		TokenRule: alerting.RuleStrapiTokenRefused, ChannelRule: alerting.RuleNotificationFailing,
	})
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	f.latency = time.Since(start)
	f.at = start.Add(f.latency / 2)
	f.core = &core
	return nil
}

// part is what read answers, nil when it fails.
func part[T any](f *facts, read func() (T, error)) *T {
	v, err := read()
	if err != nil {
		if f.err == nil {
			f.err = err
		}
		return nil
	}
	return &v
}

// cached keeps an answer for probeAge. Callers that come while it is being made
// wait for it, which ProbeTimeout bounds.
type cached[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
}

func (c *cached[T]) get(read func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().After(c.until) {
		c.value = read()
		c.until = time.Now().Add(probeAge)
	}
	return c.value
}
