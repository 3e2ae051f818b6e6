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
	"dealbox/internal/paging"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
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
	types  []strapi.ContentType // none where the command did not need them
}

// OpenOperations connects to the database that DATABASE_URL names, and fails at once
// when it cannot. It reads no other setting, but for what the command needs besides.
func OpenOperations(ctx context.Context, getenv func(string) string, besides ...Need) (*Operations, error) {
	config, err := LoadConfig(getenv, append(besides, NeedDatabase)...)
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

// SyncRequest is what an operator wants to be compared with Strapi.
type SyncRequest struct {
	Full, AllowDeletes bool
	Types              []string  // REST plurals or uids; none is all
	Since              time.Time // zero: since the last time
}

// RequestReconciliation asks the running service for a comparison with Strapi, and
// returns the id of its row in reconciliation_run. Types that are named must be in the
// settings that OpenOperations read.
func (o *Operations) RequestReconciliation(ctx context.Context, r SyncRequest) (id int64, err error) {
	request := reconcile.Request{
		Extent: reconcile.Delta, Trigger: reconcile.TriggerDemand, Actor: Operator(), AllowDeletes: r.AllowDeletes, Since: r.Since,
	}
	if r.Full || r.AllowDeletes {
		request.Extent = reconcile.Full
	}
	if request.Types, err = o.uids(r.Types); err != nil {
		return 0, err
	}
	if len(request.Types) == len(o.types) {
		request.Types = nil
	}
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (int64, error) {
		id, err := o.runs.Request(ctx, tx, request)
		if err != nil {
			return 0, err
		}
		action := operator.Sync
		if r.AllowDeletes {
			action = operator.AllowDeletes
		}
		details := map[string]any{"run_id": strconv.FormatInt(id, 10), "full": request.Extent == reconcile.Full}
		if len(r.Types) > 0 {
			details["types"] = request.Types
		}
		if !r.Since.IsZero() {
			details["since"] = r.Since
		}
		return id, operator.Record(ctx, tx, request.Actor, action, details)
	})
}

// RequestDocuments requests a refresh of documents that are named by documentId, of some
// types or of all. It returns the seq that each document's sync must reach.
func (o *Operations) RequestDocuments(ctx context.Context, types, documentIDs []string) (map[mirror.Key]int64, error) {
	uids, err := o.uids(types)
	if err != nil {
		return nil, err
	}
	if len(uids) == 0 {
		for _, t := range o.types {
			uids = append(uids, t.UID)
		}
	}
	return inTx(ctx, o.Pool, func(tx pgx.Tx) (map[mirror.Key]int64, error) {
		seqs, err := o.queue.EnqueueNamed(ctx, tx, uids, documentIDs)
		if err != nil {
			return nil, err
		}
		return seqs, operator.Record(ctx, tx, Operator(), operator.Sync, map[string]any{"documents": documentIDs, "types": uids})
	})
}

// MovedDocuments returns the documents that RequestDocuments did not know, in the locales in
// which their refreshes found them: those are refreshed in turn. It returns the seq that each
// must reach.
func (o *Operations) MovedDocuments(ctx context.Context, requested map[mirror.Key]int64) (map[mirror.Key]int64, error) {
	p := dbsqlc.EntityNamedParams{}
	for key := range requested {
		p.Uids, p.DocumentIds = append(p.Uids, key.UID), append(p.DocumentIds, key.DocumentID)
	}
	known, err := dbsqlc.New().EntityNamed(ctx, o.Pool, p)
	if err != nil {
		return nil, fmt.Errorf("find %d documents in other locales: %w", len(requested), err)
	}
	moved := map[mirror.Key]int64{}
	for _, k := range known {
		key := mirror.Key{UID: k.UID, DocumentID: k.DocumentID, Locale: k.Locale}
		if _, was := requested[key]; !was {
			moved[key] = 1 // its first refresh
		}
	}
	return moved, nil
}

// uids returns the uids of the types that an operator names.
func (o *Operations) uids(names []string) ([]string, error) {
	uids, err := strapi.UIDs(o.types, names)
	if err != nil {
		return nil, &paging.FieldError{Field: "type", Problem: err.Error()}
	}
	return uids, nil
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

// Progress is how far the refresh of a document is that RequestDocuments requested.
type Progress struct {
	Done bool
	// Problem is why the attempt since failed; "" where none did.
	Problem string
	// Name and Value are what people know the document by; IsShown: the mirror has it.
	Name, Value string
	IsShown     bool
}

// FollowDocument reads the document's row until a sync has covered seq, or an attempt
// failed. It calls waiting each time that neither is so.
func (o *Operations) FollowDocument(ctx context.Context, key mirror.Key, seq int64, waiting func()) (Progress, error) {
	first := int32(-1)
	for {
		row, err := dbsqlc.New().EntityProgress(ctx, o.Pool, dbsqlc.EntityProgressParams{
			UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seq,
		})
		if err != nil {
			return Progress{}, fmt.Errorf("read how far %s is: %w", key, err)
		}
		if first < 0 || row.Failures < first {
			first = row.Failures
		}
		failed := row.State == "dead" || row.Held || row.Failures > first && !row.IsRunning
		switch {
		case row.Done:
			return o.describe(ctx, key)
		case failed && row.LastError != nil:
			return Progress{Problem: *row.LastError}, nil
		}
		waiting()
		if err := pause(ctx, followInterval); err != nil {
			return Progress{}, err
		}
	}
}

// waitRules are the alerts of what makes requests wait, besides the breaker.
var waitRules = []string{alerting.RuleStrapiTokenRefused, alerting.RuleStrapiBlocked, alerting.RuleAttributeMissing, alerting.RuleStrapiUnusable}

// WhyItWaits returns in words what keeps the service from a request, as far as the
// database knows it; "" where it knows nothing.
func (o *Operations) WhyItWaits(ctx context.Context) (string, error) {
	b, err := o.Breaker.Snapshot(ctx, o.Pool)
	switch {
	case err != nil:
		return "", err
	case b.State == circuit.Open && b.Forced:
		return fmt.Sprintf("%s holds the breaker open (%s), so Dealbox sends Strapi no request; 'dealbox breaker reset' ends that", b.ChangedBy, b.Reason), nil
	case b.State != circuit.Closed:
		return fmt.Sprintf("the breaker is open, so Dealbox sends Strapi only a probe now and then (%s); 'dealbox breaker show' has more", b.LastError), nil
	}
	for _, rule := range waitRules {
		page, err := alerting.List(ctx, o.Pool, alerting.Filter{
			Rule: rule, Limit: 1, Statuses: []alerting.Status{alerting.Firing, alerting.Acknowledged, alerting.Suppressed},
		})
		if err != nil {
			return "", err
		}
		if len(page.Episodes) > 0 {
			return page.Episodes[0].Message, nil
		}
	}
	return "", nil
}

func (o *Operations) describe(ctx context.Context, key mirror.Key) (Progress, error) {
	doc, err := dbsqlc.New().DocumentDescribe(ctx, o.Pool, dbsqlc.DocumentDescribeParams(key))
	if err != nil {
		return Progress{}, fmt.Errorf("read what the mirror has of %s: %w", key, err)
	}
	return Progress{Done: true, Name: doc.Name, Value: doc.Value, IsShown: doc.IsShown}, nil
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
		Pool: pool, alerts: alerts, queue: mirror.NewQueue(inserter), runs: reconcile.NewQueue(inserter), types: config.Strapi.Types,
		Breaker: circuit.New(pool, circuit.Config{
			Logger: slog.New(slog.DiscardHandler), OnTransition: BreakerAlerts(alerts),
		}),
	}, nil
}

// Close closes the connections.
func (r *Replays) Close() { r.pool.Close() }
