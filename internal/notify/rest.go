package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"dealbox/internal/dbsqlc"
)

// tryRest sends a mail that is sent already to those who put it off, and to nobody else.
func (w *SendWorker) tryRest(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow) error {
	retry, err := w.send(ctx, n, job.Args.To)
	var u *Undelivered
	if err != nil && ctx.Err() != nil && !errors.As(err, &u) {
		return fmt.Errorf("send the rest of notification %d: %w", n.ID, ctx.Err())
	}
	left := leftOf(job.Args, retry, seconds(n.AgeSeconds) >= w.outbox.config.GiveUpAfter, err)
	w.reportLeft(ctx, n, left)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := w.queries.NotificationLeft(ctx, tx, dbsqlc.NotificationLeftParams{ID: n.ID, LastError: lastError(left)}); err != nil {
			return err
		}
		if err := w.insertRest(ctx, tx, n, left); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle the rest of notification %d: %w", n.ID, err)
	}
	return nil
}

// insertRest inserts the job for those who put it off. It waits as long again as
// the notification is old: that doubles with each attempt.
func (w *SendWorker) insertRest(ctx context.Context, tx pgx.Tx, n dbsqlc.NotificationGetRow, left error) error {
	args := restOf(n.ID, left)
	if args == nil {
		return nil
	}
	backoff := w.outbox.config.Backoff
	wait := min(max(seconds(n.AgeSeconds), backoff.InitialDelay), backoff.MaxDelay)
	_, err := w.outbox.jobs.InsertTx(ctx, tx, *args, &river.InsertOpts{Queue: queueOf(n.Channel), Priority: rest, ScheduledAt: time.Now().Add(wait)})
	return err
}

// reportLeft logs who did not take a mail that others took.
func (w *SendWorker) reportLeft(ctx context.Context, n dbsqlc.NotificationGetRow, left error) {
	if left == nil {
		return
	}
	w.log.WarnContext(ctx, "a notification was sent, but not to everybody", "notification_id", n.ID, "alert_id", n.AlertID,
		"channel", n.Channel, "reason", n.Reason, "error", *lastError(left))
}
