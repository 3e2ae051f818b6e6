package app

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/operator"
	"dealbox/internal/reconcile"
)

// Operations is what an operator's command works with: the database and the stages,
// wired without workers and without channels. A running service sends the
// notifications of what a command raises within a minute.
type Operations struct {
	Pool    *pgxpool.Pool
	Breaker *circuit.Breaker

	alerts *alerting.Alerts
	queue  *mirror.Queue
	runs   *reconcile.Queue
}

// OpenOperations connects to the database that DATABASE_URL names, and fails at once
// when it cannot. No other setting is read.
func OpenOperations(ctx context.Context, getenv func(string) string) (*Operations, error) {
	config, err := LoadConfig(getenv, NeedDatabase)
	if err != nil {
		return nil, err
	}
	return openOperations(ctx, config, CommandPool)
}

// Close closes the connections.
func (o *Operations) Close() { o.Pool.Close() }

// Acknowledge notes that the operator works on an alert.
func (o *Operations) Acknowledge(ctx context.Context, id int64, comment string) (alerting.Episode, error) {
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (alerting.Episode, error) {
		return o.alerts.Acknowledge(ctx, tx, id, alerting.Operator{Name: Operator(), Comment: comment})
	})
}

// Resolve closes an alert by hand.
func (o *Operations) Resolve(ctx context.Context, id int64, comment string) (alerting.Episode, error) {
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (alerting.Episode, error) {
		return o.alerts.ResolveByHand(ctx, tx, id, alerting.Operator{Name: Operator(), Comment: comment})
	})
}

// Silence begins a silence.
func (o *Operations) Silence(ctx context.Context, silence alerting.NewSilence, comment string) (alerting.Silence, error) {
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (alerting.Silence, error) {
		return o.alerts.Silence(ctx, tx, silence, alerting.Operator{Name: Operator(), Comment: comment})
	})
}

// EndSilence ends a silence before its time.
func (o *Operations) EndSilence(ctx context.Context, id int64) (alerting.Silence, error) {
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (alerting.Silence, error) {
		return o.alerts.EndSilence(ctx, tx, id, Operator())
	})
}

// RequestReconciliation asks the running service for a comparison with Strapi, and
// returns the id of its row in reconciliation_run.
func (o *Operations) RequestReconciliation(ctx context.Context, full, allowDeletes bool) (id int64, err error) {
	request := reconcile.Request{Extent: reconcile.Delta, Trigger: reconcile.TriggerDemand, Actor: Operator(), AllowDeletes: allowDeletes}
	if full || allowDeletes {
		request.Extent = reconcile.Full
	}
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (int64, error) {
		id, err := o.runs.Request(ctx, tx, request)
		if err != nil {
			return 0, err
		}
		action := operator.Sync
		if allowDeletes {
			action = operator.AllowDeletes
		}
		return id, operator.Record(ctx, tx, request.Actor, action, map[string]any{"run_id": strconv.FormatInt(id, 10), "full": request.Extent == reconcile.Full})
	})
}

func inTx[T any](ctx context.Context, pool *pgxpool.Pool, do func(tx pgx.Tx) (T, error)) (done T, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		done, err = do(tx)
		return err
	})
	return done, err
}

// followInterval is how often FollowReconciliation reads the run's row.
const followInterval = 200 * time.Millisecond

// FollowReconciliation reads the run's row until the run has finished, and returns
// it. It hands each state, the last one too, to progress.
func (o *Operations) FollowReconciliation(ctx context.Context, id int64, progress func(dbsqlc.ReconciliationRun)) (dbsqlc.ReconciliationRun, error) {
	for {
		run, err := dbsqlc.New().ReconciliationGet(ctx, o.Pool, id)
		if err != nil {
			return run, fmt.Errorf("read reconciliation %d: %w", id, err)
		}
		progress(run)
		if run.FinishedAt != nil {
			return run, nil
		}
		if err := pause(ctx, followInterval); err != nil {
			return run, err
		}
	}
}

// replayPool: a replay may have to choose among millions of events.
var replayPool = PoolOptions{MaxConns: 2, StatementTimeout: 5 * time.Minute, LockTimeout: 2 * time.Second}

// Replays replays stored events.
type Replays struct {
	*inbox.Replayer

	pool *pgxpool.Pool
}

// OpenReplays connects to the database. Besides DATABASE_URL it reads the content
// types and their fields: an event that was ignored may be of a type by now.
func OpenReplays(ctx context.Context, getenv func(string) string) (*Replays, error) {
	config, err := LoadConfig(getenv, NeedDatabase, NeedTypes)
	if err != nil {
		return nil, err
	}
	o, err := openOperations(ctx, config, replayPool)
	if err != nil {
		return nil, err
	}
	return &Replays{inbox.NewReplayer(o.Pool, o.queue, config.Strapi.Types), o.Pool}, nil
}

func openOperations(ctx context.Context, config Config, options PoolOptions) (*Operations, error) {
	pool, err := Connect(ctx, config.Database.URL, options)
	if err != nil {
		return nil, err
	}
	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		pool.Close()
		return nil, err
	}
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	return &Operations{
		Pool: pool, alerts: alerts, queue: mirror.NewQueue(inserter), runs: reconcile.NewQueue(inserter),
		Breaker: circuit.New(pool, circuit.Config{
			Logger: slog.New(slog.DiscardHandler), OnTransition: BreakerAlerts(alerts),
		}),
	}, nil
}

// Close closes the connections.
func (r *Replays) Close() { r.pool.Close() }
