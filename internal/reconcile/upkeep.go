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

// countLost decides about differences that are a minute old: where no webhook of the
// document came, Strapi lost it or never sent it. The document is in step already; the
// alert is that webhooks cannot be relied on at the moment.
func (w *Worker) countLost(ctx context.Context) error {
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
		_, err = w.alerts.Resolve(ctx, tx, alerting.RuleLostWebhooks, "", alerting.EndLostWebhooks)
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
	message, err := w.alerts.WordLostWebhooks(ctx, tx, len(lost))
	if err != nil {
		return err
	}
	_, err = w.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleLostWebhooks, Level: level.Warning, Message: message,
		Details: map[string]any{"count": len(lost), "examples": examples},
	})
	return err
}

// requeue gives new jobs to rows that wait without one: River's rescuer can discard a
// job and reports that nowhere. Each stage does it for its own rows.
func (w *Worker) requeue(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		for _, requeue := range w.cfg.Requeue {
			if err := requeue(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("requeue rows without a job: %w", err)
	}
	return nil
}
