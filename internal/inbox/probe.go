package inbox

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// Probe does all that the commit of a delivery does, takes it back, and commits: it
// fails where a delivery would. It leaves no event, no refresh and no job.
func (r *Receiver) Probe(ctx context.Context) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		// Under the time that a health answer has: a lock must show as one.
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '1s'"); err != nil {
			return err
		}
		taken, err := tx.Begin(ctx) // a savepoint
		if err != nil {
			return err
		}
		if _, err := r.write(ctx, taken, 0, []incoming{r.probe()}); err != nil {
			return fmt.Errorf("store a probe: %w", err)
		}
		if err := taken.Rollback(ctx); err != nil {
			return err
		}
		// A transaction that has written nothing needs no disk to commit.
		return dbsqlc.New().InboxCounterTouch(ctx, tx, r.slots[0])
	})
}

// probe returns a delivery about a document that does not exist, of a type that is
// mirrored.
func (r *Receiver) probe() incoming {
	id := uuid.Must(uuid.NewV7())
	in := incoming{
		id: id, scheme: webhooksig.SchemeStandard, body: []byte("{}"), action: ActionRecompute,
		dedup: dedupKey(Delivery{ID: "probe " + id.String()}), env: strapi.Envelope{Event: "entry.update", DocumentID: "probe-" + id.String()},
	}
	for uid := range r.types {
		in.env.UID = uid
	}
	return in
}
