// Package inbox takes verified deliveries and commits each, together with the
// job that refreshes its document, before httpapi answers 202.
package inbox

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/groupcommit"
	"dealbox/internal/mirror"
	"dealbox/internal/pgerr"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
)

const (
	// maxGroup and maxGroupBytes bound one transaction, in deliveries and bytes.
	maxGroup      = 256
	maxGroupBytes = 8 << 20
	// maxWaiting bounds the memory of deliveries that wait for a writer. With
	// bodies of some kB it is far more than the callers that a server has.
	maxWaiting = 8192
	// conflictTries bounds how often a transaction is repeated after a deadlock,
	// a serialization failure or a lock timeout. They say nothing about a delivery.
	conflictTries = 3
	// counterSlots spreads the counters of all writers of all replicas over several rows.
	counterSlots = 64
)

// Config of a Receiver.
type Config struct {
	// Types are the content types whose entries are mirrored.
	Types []strapi.ContentType
	// Writers is how many transactions may be open at once (default 2). More do
	// not make it faster: the wait is for the disk, and a group has room for all.
	Writers int
	// MaxGroup is how many deliveries one transaction may take (default 256).
	MaxGroup int
	// CommitTimeout bounds one transaction (default 6 s). Strapi waits 10 s for the
	// answer to a webhook.
	CommitTimeout time.Duration
}

// store is what a Receiver needs of the database: *pgxpool.Pool has it. The
// simulation puts its own connection here.
type store interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Receiver commits deliveries in groups.
type Receiver struct {
	pool   store
	mirror *mirror.Queue
	runs   *reconcile.Queue
	alerts *alerting.Alerts
	types  map[string]strapi.ContentType
	slots  []int16 // one counter row a writer
	group  *groupcommit.Group[incoming, Receipt]
	// timeout bounds one transaction.
	timeout time.Duration
	// refused counts deliveries that were not answered 2xx and for which no full
	// reconciliation was requested yet. Strapi does not send them again. A crash
	// forgets the count; the full reconciliation of a worker's start, or of the hour,
	// finds those documents all the same.
	refused atomic.Int64
	// What this process has committed so far.
	groups, deliveries atomic.Int64
}

// NewReceiver makes a Receiver that writes through pool, which should be its
// own: ingest must not wait behind the workers' connections.
func NewReceiver(pool store, queue *mirror.Queue, runs *reconcile.Queue, alerts *alerting.Alerts, cfg Config) *Receiver {
	if cfg.Writers <= 0 {
		cfg.Writers = 2
	}
	if cfg.MaxGroup <= 0 {
		cfg.MaxGroup = maxGroup
	}
	if cfg.CommitTimeout <= 0 {
		cfg.CommitTimeout = 6 * time.Second
	}
	r := &Receiver{pool: pool, mirror: queue, runs: runs, alerts: alerts, types: map[string]strapi.ContentType{}, timeout: cfg.CommitTimeout}
	for _, t := range cfg.Types {
		r.types[t.UID] = t
	}
	first := rand.IntN(counterSlots)
	for writer := range cfg.Writers {
		r.slots = append(r.slots, int16((first+writer)%counterSlots)) // no writer waits for another's row
	}
	r.group = groupcommit.New(groupcommit.Config[incoming]{
		Writers: cfg.Writers, MaxItems: cfg.MaxGroup, MaxBytes: maxGroupBytes, MaxQueued: maxWaiting,
		Size: func(in incoming) int { return len(in.body) }, Timeout: cfg.CommitTimeout,
	}, r.commit)
	return r
}

// Receive returns once the delivery is committed. After any error nobody knows
// whether it is, and the caller must not answer 2xx.
func (r *Receiver) Receive(ctx context.Context, d Delivery) (Receipt, error) {
	receipt, err := r.group.Submit(ctx, classify(d, r.types))
	if err != nil {
		r.refused.Add(1)
		return Receipt{}, fmt.Errorf("commit delivery: %w", err)
	}
	return receipt, nil
}

// Groups returns how many transactions committed deliveries since the start, and
// how many deliveries those were, duplicates too.
func (r *Receiver) Groups() (groups, deliveries int64) {
	return r.groups.Load(), r.deliveries.Load()
}

// Close commits what waits and refuses the rest.
func (r *Receiver) Close(ctx context.Context) error {
	return r.group.Close(ctx)
}

// commit stores a group. Only an error about a row's values makes a bad row: then
// the group is stored one by one, and the bad one quarantined. Any other error is
// the result of the whole group.
func (r *Receiver) commit(ctx context.Context, writer int, group []incoming) []groupcommit.Result[Receipt] {
	receipts, err := r.store(ctx, writer, group)
	switch {
	case err == nil:
		r.groups.Add(1)
		r.deliveries.Add(int64(len(group)))
		return results(receipts)
	case !pgerr.IsBadRow(err):
		return failed(len(group), err)
	case len(group) > 1:
		var all []groupcommit.Result[Receipt]
		for _, in := range group {
			all = append(all, r.commit(ctx, writer, []incoming{in})...)
		}
		return all
	case group[0].action == ActionQuarantined:
		return failed(1, err)
	default:
		return r.commit(ctx, writer, []incoming{quarantined(group[0], err)})
	}
}

// quarantined returns the delivery without the identifiers that the database
// refused. Its bytes are kept.
func quarantined(in incoming, cause error) incoming {
	in.unnamed = in.processed()
	in.action, in.reason = ActionQuarantined, "the database refused its identifiers, SQLSTATE "+cmp.Or(pgerr.Code(cause), "unknown")
	in.env = strapi.Envelope{}
	return in
}

// store runs one transaction for the group, again after a conflict. The first one
// after deliveries were refused also requests a full reconciliation.
func (r *Receiver) store(ctx context.Context, writer int, group []incoming) (receipts []Receipt, err error) {
	err = r.withRefused(func(take func() int64) error {
		for range conflictTries {
			err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
				if receipts, err = r.write(ctx, tx, writer, group); err != nil {
					return err
				}
				if refused := take(); refused > 0 {
					return r.requestRecovery(ctx, tx, refused)
				}
				return nil
			})
			if !pgerr.IsConflict(err) {
				break
			}
		}
		return err
	})
	return receipts, err
}

func results(receipts []Receipt) []groupcommit.Result[Receipt] {
	out := make([]groupcommit.Result[Receipt], len(receipts))
	for i := range receipts {
		out[i].Value = receipts[i]
	}
	return out
}

func failed(n int, err error) []groupcommit.Result[Receipt] {
	out := make([]groupcommit.Result[Receipt], n)
	for i := range out {
		out[i].Err = err
	}
	return out
}
