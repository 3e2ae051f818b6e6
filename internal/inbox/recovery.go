package inbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/reconcile"
)

// RequestRecovery requests a full reconciliation and raises the alert when
// deliveries were refused and none was committed since. The next delivery would do
// the same, but after an outage of Postgres Strapi may send nothing for hours.
func (r *Receiver) RequestRecovery(ctx context.Context) error {
	if r.refused.Load() == 0 {
		return nil
	}
	return r.withRefused(func(take func() int64) error {
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			if refused := take(); refused > 0 {
				return r.requestRecovery(ctx, tx, refused)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("request a reconciliation for refused webhooks: %w", err)
		}
		return nil
	})
}

// withRefused lets commit take the count of refused deliveries, so that two writers
// do not request the same recovery. When commit fails or panics the count goes back:
// nobody knows then whether it is committed, and twice is better than never.
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

// requestRecovery requests a full reconciliation in place of the refused deliveries,
// and raises the alert about them.
func (r *Receiver) requestRecovery(ctx context.Context, tx pgx.Tx, refused int64) error {
	if _, err := r.runs.Request(ctx, tx, reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerAfterRefusal}); err != nil {
		return err
	}
	_, err := r.alerts.Raise(ctx, tx, alerting.Alert{
		Rule: alerting.RuleWebhooksRefused, Level: level.Error,
		Message: alerting.WebhooksRefused(refused),
		Details: map[string]any{"refused": refused},
	})
	return err
}
