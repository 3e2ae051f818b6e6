package reconcile

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
)

// settle decides about differences that are a minute old: those that no webhook
// told of were lost by Strapi, or never sent. They are healed already; the alert
// says that webhooks cannot be relied on at the moment.
func (w *Worker) settle(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		lost, err := dbsqlc.New().ReconciliationDecideLost(ctx, tx)
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
		_, err = w.alerts.Resolve(ctx, tx, alerting.RuleLostWebhooks, "", "a full reconciliation found no lost webhook")
		return err
	})
	if err != nil {
		return fmt.Errorf("count lost webhooks: %w", err)
	}
	return nil
}

func (w *Worker) raiseLost(ctx context.Context, tx pgx.Tx, lost []dbsqlc.ReconciliationDecideLostRow) error {
	var examples []string
	for _, l := range lost[:min(len(lost), 5)] {
		examples = append(examples, mirror.Key{UID: l.UID, DocumentID: l.DocumentID}.String())
	}
	_, err := w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleLostWebhooks, Level: level.Warning,
		Message: fmt.Sprintf("%d documents changed in Strapi and no webhook came; reconciliation found and healed them", len(lost)),
		Details: map[string]any{"count": len(lost), "examples": examples},
	})
	return err
}

// rescue gives new jobs to what waits without one: River's rescuer can discard a
// job without a word. Each stage looks after its own rows.
func (w *Worker) rescue(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		for _, requeue := range w.cfg.Requeue {
			if err := requeue(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for work without a job: %w", err)
	}
	return nil
}
