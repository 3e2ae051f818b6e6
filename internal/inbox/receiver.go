// Package inbox takes verified deliveries and commits each, together with the
// job that looks at its document, before anybody is told 202.
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
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/pgerr"
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
	// counterSlots spreads the counters of all writers of all replicas over rows.
	counterSlots = 64
)

// commitTimeout bounds one transaction. Strapi waits 10 s for its answer. Tests give
// it more.
var commitTimeout = 6 * time.Second

// Config of a Receiver.
type Config struct {
	// Types are the content types whose entries are mirrored.
	Types []strapi.ContentType
	// Writers is how many transactions may be open at once (default 2). More do
	// not make it faster: the wait is for the disk, and a group has room for all.
	Writers int
	// MaxGroup is how many deliveries one transaction may take (default 256).
	MaxGroup int
}

// store is what a Receiver needs of the database: *pgxpool.Pool has it. The
// simulation runs the same code in memory.
type store interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Receiver commits deliveries in groups.
type Receiver struct {
	pool   store
	mirror *mirror.Queue
	alerts *alerting.Alerts
	types  map[string]strapi.ContentType
	slots  []int16 // one counter row a writer
	group  *groupcommit.Group[fact, Receipt]
	// refused counts deliveries that were not told 2xx and that no commit has made
	// good. Strapi does not send them again. What a crash forgets of it, the next full
	// reconciliation makes good: that of a worker's start, or of the hour.
	refused atomic.Int64
	// Committed so far, by this process.
	groups, deliveries atomic.Int64
}

// NewReceiver makes a Receiver that writes through pool, which should be its
// own: ingest must not wait behind the workers' connections.
func NewReceiver(pool store, queue *mirror.Queue, alerts *alerting.Alerts, cfg Config) *Receiver {
	if cfg.Writers <= 0 {
		cfg.Writers = 2
	}
	if cfg.MaxGroup <= 0 {
		cfg.MaxGroup = maxGroup
	}
	r := &Receiver{pool: pool, mirror: queue, alerts: alerts, types: map[string]strapi.ContentType{}}
	for _, t := range cfg.Types {
		r.types[t.UID] = t
	}
	for range cfg.Writers {
		r.slots = append(r.slots, int16(rand.IntN(counterSlots)))
	}
	r.group = groupcommit.New(groupcommit.Config[fact]{
		Writers: cfg.Writers, MaxItems: cfg.MaxGroup, MaxBytes: maxGroupBytes, MaxQueued: maxWaiting,
		Size: func(f fact) int { return len(f.body) }, Timeout: commitTimeout,
	}, r.commit)
	return r
}

// Receive returns once the delivery is committed. On any error it is not known
// to be committed, and the caller must not say 2xx.
func (r *Receiver) Receive(ctx context.Context, d Delivery) (Receipt, error) {
	receipt, err := r.group.Submit(ctx, classify(d, r.types))
	if err != nil {
		r.refused.Add(1)
		return Receipt{}, fmt.Errorf("commit delivery: %w", err)
	}
	return receipt, nil
}

// Groups is how many transactions committed deliveries since the start, and how
// many deliveries those were, duplicates too.
func (r *Receiver) Groups() (groups, deliveries int64) {
	return r.groups.Load(), r.deliveries.Load()
}

// Close commits what waits and refuses the rest.
func (r *Receiver) Close(ctx context.Context) error {
	return r.group.Close(ctx)
}

// commit stores a group. Only what the database says about a row's values makes
// a bad row; any other error is the answer to the whole group.
func (r *Receiver) commit(ctx context.Context, writer int, facts []fact) []groupcommit.Result[Receipt] {
	receipts, err := r.store(ctx, writer, facts)
	switch {
	case err == nil:
		r.groups.Add(1)
		r.deliveries.Add(int64(len(facts)))
		return results(receipts)
	case !pgerr.IsBadRow(err):
		return failed(len(facts), err)
	case len(facts) > 1:
		var all []groupcommit.Result[Receipt]
		for _, f := range facts {
			all = append(all, r.commit(ctx, writer, []fact{f})...)
		}
		return all
	case facts[0].action == ActionQuarantined:
		return failed(1, err)
	default:
		return r.commit(ctx, writer, []fact{quarantined(facts[0], err)})
	}
}

// quarantined keeps the bytes of a delivery whose identifiers the database refused.
func quarantined(f fact, cause error) fact {
	f.action, f.reason = ActionQuarantined, "the database refused its identifiers, SQLSTATE "+cmp.Or(pgerr.Code(cause), "unknown")
	f.env = strapi.Envelope{}
	return f
}

// store runs one transaction for the group, again after a conflict. The first one
// after deliveries were refused asks for a full reconciliation, too.
func (r *Receiver) store(ctx context.Context, writer int, facts []fact) (receipts []Receipt, err error) {
	err = r.withRefused(func(take func() int64) error {
		for range conflictTries {
			err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
				if receipts, err = r.write(ctx, tx, writer, facts); err != nil {
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

// RequestRecovery does without a delivery what the next one would do: after an outage of
// Postgres Strapi may have nothing to say for hours.
func (r *Receiver) RequestRecovery(ctx context.Context) error {
	if r.refused.Load() == 0 {
		return nil
	}
	return r.withRefused(func(take func() int64) error {
		ctx, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			if refused := take(); refused > 0 {
				return r.requestRecovery(ctx, tx, refused)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("make good what was refused: %w", err)
		}
		return nil
	})
}

// withRefused lets commit take what was refused so far, so that two writers do not
// make the same ones good. When commit fails or panics it is given back: then nobody
// knows whether it is committed, and better twice than never.
func (r *Receiver) withRefused(commit func(take func() int64) error) error {
	var taken int64
	defer func() { r.refused.Add(taken) }()
	err := commit(func() int64 {
		taken += r.refused.Swap(0)
		return taken
	})
	if err == nil {
		taken = 0
	}
	return err
}

// requestRecovery asks for a full reconciliation in place of the deliveries that were
// refused, and tells people.
func (r *Receiver) requestRecovery(ctx context.Context, tx pgx.Tx, refused int64) error {
	if _, err := r.mirror.Reconcile(ctx, tx, mirror.Request{Extent: mirror.Full, Trigger: mirror.TriggerAfterRefusal}); err != nil {
		return err
	}
	_, err := r.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleWebhooksRefused, Level: level.Error,
		Message: fmt.Sprintf("%d webhooks could not be committed and were answered 503; a full reconciliation makes good what Strapi does not send again", refused),
		Details: map[string]any{"refused": refused},
	})
	return err
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
