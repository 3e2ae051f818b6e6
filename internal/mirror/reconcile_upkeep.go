package mirror

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
)

// settle decides about differences that are a minute old: those that no webhook
// told of were lost by Strapi, or never sent. They are healed already; the alert
// says that webhooks cannot be relied on at the moment.
func (w *ReconcileWorker) settle(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, w.sync.pool, func(tx pgx.Tx) error {
		lost, err := dbsqlc.New().ReconciliationSettle(ctx, tx)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			return w.raiseLost(ctx, tx, lost)
		}
		since, err := dbsqlc.New().ReconciliationLostSinceFull(ctx, tx)
		if err != nil || since != 0 {
			return err
		}
		_, err = w.sync.alerts.Resolve(ctx, tx, alerting.RuleLostWebhooks, "", "a full reconciliation found no lost webhook")
		return err
	})
	if err != nil {
		return fmt.Errorf("count lost webhooks: %w", err)
	}
	return nil
}

func (w *ReconcileWorker) raiseLost(ctx context.Context, tx pgx.Tx, lost []dbsqlc.ReconciliationSettleRow) error {
	var examples []string
	for _, l := range lost[:min(len(lost), 5)] {
		examples = append(examples, Key{UID: l.UID, DocumentID: l.DocumentID}.String())
	}
	_, err := w.sync.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleLostWebhooks, Level: level.Warning,
		Message: fmt.Sprintf("%d documents changed in Strapi and no webhook came; reconciliation found and healed them", len(lost)),
		Details: map[string]any{"count": len(lost), "examples": examples},
	})
	return err
}

// rescue gives new jobs to what waits without one: River's rescuer can discard a
// job without a word. Each stage looks after its own rows.
func (w *ReconcileWorker) rescue(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, w.sync.pool, func(tx pgx.Tx) error {
		if err := w.sync.queue.rescue(ctx, tx); err != nil {
			return err
		}
		if w.cfg.Outbox != nil {
			if err := w.cfg.Outbox.Rescue(ctx, tx); err != nil {
				return err
			}
		}
		return w.sync.forecast.Rescue(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("look for work without a job: %w", err)
	}
	return nil
}

func (q *Queue) rescue(ctx context.Context, tx pgx.Tx) error {
	orphans, err := dbsqlc.New().EntityOrphans(ctx, tx)
	if err != nil || len(orphans) == 0 {
		return err
	}
	params := make([]river.InsertManyParams, len(orphans))
	for i, o := range orphans {
		params[i] = river.InsertManyParams{
			Args:       SyncArgs{UID: o.UID, DocumentID: o.DocumentID, Locale: o.Locale, Seq: o.WantSeq},
			InsertOpts: jobs.LiveOnly(),
		}
	}
	_, err = q.jobs.InsertManyTx(ctx, tx, params)
	return err
}
