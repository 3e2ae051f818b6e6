package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/text"
)

const (
	// actor is who alert_event names for what the service does by itself.
	actor = "dealbox"
	// maxLastError bounds what is kept of an error, in bytes.
	maxLastError = 500
	// settleTimeout bounds the transaction that writes down what came of an
	// attempt. It runs also when the worker is being stopped: a message that is
	// out must be marked, or it goes out twice.
	settleTimeout = 5 * time.Second
	// behind is how long a notification waits after the one that must go first.
	behind = time.Second
)

// SendArgs sends one notification.
type SendArgs struct {
	NotificationID int64 `json:"notification_id"`
	// To are the receivers of a mail who put off what others took; empty: all receivers.
	To []string `json:"to,omitempty"`
	// Refused are those who refused it before.
	Refused []Refusal `json:"refused,omitempty"`
}

// Kind implements river.JobArgs.
func (SendArgs) Kind() string { return "notification_send" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SendArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: jobs.QueueNotify} }

// SendWorker sends notifications through the channels of an Outbox. Each goes
// out at least once: a worker that dies between the sending and the marking
// leaves it to the next one, which sends it again under the same id.
type SendWorker struct {
	river.WorkerDefaults[SendArgs]
	pool    *pgxpool.Pool
	outbox  *Outbox
	log     *slog.Logger
	queries *dbsqlc.Queries
}

// NewSendWorker makes the worker of an Outbox. A nil logger discards.
func NewSendWorker(pool *pgxpool.Pool, outbox *Outbox, logger *slog.Logger) *SendWorker {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &SendWorker{pool: pool, outbox: outbox, log: logger, queries: dbsqlc.New()}
}

// NextRetry is for what says nothing about the channel, such as a database that
// is away; a failed attempt to send snoozes the job instead.
func (w *SendWorker) NextRetry(job *river.Job[SendArgs]) time.Time {
	return time.Now().Add(w.outbox.config.Backoff.Delay(job.Attempt-1, rand.Float64))
}

// Work sends the notification unless that is done already. No transaction is
// open while it sends.
func (w *SendWorker) Work(ctx context.Context, job *river.Job[SendArgs]) error {
	n, err := w.queries.NotificationGet(ctx, w.pool, job.Args.NotificationID)
	if errors.Is(err, pgx.ErrNoRows) {
		w.log.WarnContext(ctx, "a notification to send is gone", "notification_id", job.Args.NotificationID)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read notification %d: %w", job.Args.NotificationID, err)
	}
	if len(job.Args.To) > 0 {
		return w.tryRest(ctx, job, n)
	}
	if n.Status != "pending" {
		return nil
	}
	if n.Ahead > 0 {
		return river.JobSnooze(w.waitBehind(seconds(n.AheadSeconds)))
	}
	if why := withhold(standingOf(n)); why != "" {
		return w.withhold(ctx, job, n, why)
	}
	return w.try(ctx, job, n)
}

func standingOf(n dbsqlc.NotificationGetRow) standing {
	return standing{reason: Reason(n.Reason), status: n.AlertStatus, silenced: n.Silenced, told: n.Told > 0}
}

// withhold marks a notification as not sent, tells the history, and completes the job.
func (w *SendWorker) withhold(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow, why Suppression) error {
	return w.finish(ctx, job, n, withheld(n, why), func(tx pgx.Tx) (int64, error) {
		by := string(why)
		return w.queries.NotificationSuppressed(ctx, tx, dbsqlc.NotificationSuppressedParams{ID: n.ID, SuppressedBy: &by})
	})
}

// waitBehind keeps the notifications of an episode on a channel in order, also
// after an outage: an operator must not read "resolved" before "firing". Only a
// receiver who put a mail off that others took may.
func (w *SendWorker) waitBehind(next time.Duration) time.Duration {
	backoff := w.outbox.config.Backoff
	return min(max(next, 0)+min(behind, backoff.InitialDelay), backoff.MaxDelay)
}

func (w *SendWorker) try(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow) error {
	number, err := w.queries.NotificationBegin(ctx, w.pool, n.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // Settled since it was read.
	}
	if err != nil {
		return fmt.Errorf("count an attempt of notification %d: %w", n.ID, err)
	}
	again, err := w.send(ctx, n, nil)
	if !taken(err) && ctx.Err() != nil {
		// Being stopped says nothing about the channel.
		return fmt.Errorf("send notification %d: %w", n.ID, ctx.Err())
	}
	tried := attempt{number: int(number), age: seconds(n.AgeSeconds), retry: again, err: err}
	next := decide(tried, w.outbox.config.Backoff, w.outbox.config.GiveUpAfter, rand.Float64)
	w.report(ctx, n, tried, next)
	return w.conclude(ctx, job, n, tried, next)
}

// conclude writes down what came of an attempt.
func (w *SendWorker) conclude(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow, a attempt, next verdict) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if next.sent || next.failed {
		return w.settle(ctx, job, n, a)
	}
	err := w.queries.NotificationRetry(ctx, w.pool, dbsqlc.NotificationRetryParams{
		ID: n.ID, LastError: lastError(a.err), WaitSeconds: next.wait.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("note a failed attempt of notification %d: %w", n.ID, err)
	}
	return river.JobSnooze(next.wait)
}

// send hands the message to its channel. A channel that this process does not
// know may be known to another, as in a rolling deploy, so that is tried again.
func (w *SendWorker) send(ctx context.Context, n dbsqlc.NotificationGetRow, to []string) (bool, error) {
	channel, ok := w.outbox.channel(n.Channel)
	if !ok {
		return true, fmt.Errorf("channel %s is not configured; configure it again, or this is given up in time", n.Channel)
	}
	m := message(n, w.outbox.config.PublicURL)
	m.To = to
	return channel.Notify(ctx, m)
}

// settle marks the notification sent or failed.
func (w *SendWorker) settle(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow, a attempt) error {
	return w.finish(ctx, job, n, history(n, a), func(tx pgx.Tx) (int64, error) {
		if taken(a.err) {
			marked, err := w.queries.NotificationSent(ctx, tx, dbsqlc.NotificationSentParams{ID: n.ID, LastError: lastError(a.err)})
			if err != nil || marked == 0 {
				return marked, err
			}
			return marked, w.insertRest(ctx, tx, n, a.err)
		}
		return w.queries.NotificationFailed(ctx, tx, dbsqlc.NotificationFailedParams{ID: n.ID, LastError: lastError(a.err)})
	})
}

// finish marks the notification, tells the history, and completes the job, all
// or nothing.
func (w *SendWorker) finish(
	ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow,
	event dbsqlc.AlertEventAppendParams, mark func(tx pgx.Tx) (int64, error),
) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		marked, err := mark(tx)
		if err != nil {
			return err
		}
		// Not marked: another worker had the same job and was faster.
		if marked > 0 {
			if err := w.queries.AlertEventAppend(ctx, tx, event); err != nil {
				return err
			}
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle notification %d: %w", n.ID, err)
	}
	return nil
}

// report logs an attempt that failed. This is the edge: nobody else logs it.
func (w *SendWorker) report(ctx context.Context, n dbsqlc.NotificationGetRow, a attempt, next verdict) {
	if next.sent {
		w.reportLeft(ctx, n, a.err)
		return
	}
	log := w.log.With("notification_id", n.ID, "alert_id", n.AlertID, "channel", n.Channel,
		"reason", n.Reason, "attempt", a.number, "error", *lastError(a.err))
	if next.failed {
		log.ErrorContext(ctx, "a notification failed for good")
		return
	}
	log.WarnContext(ctx, "a notification could not be sent and is tried again", "wait", next.wait.String())
}

// history is the row of alert_event about a settled notification.
func history(n dbsqlc.NotificationGetRow, a attempt) dbsqlc.AlertEventAppendParams {
	details := map[string]any{
		"notification_id": n.ID, "channel": n.Channel, "sequence": n.Sequence, "attempts": a.number,
	}
	kind := "notified"
	if !taken(a.err) {
		kind = "notification_failed"
	}
	if a.err != nil {
		details["error"] = *lastError(a.err)
	}
	encoded, _ := json.Marshal(details) // Numbers and clean strings: it cannot fail.
	return dbsqlc.AlertEventAppendParams{
		AlertID: n.AlertID, Kind: kind, Level: n.Level, Actor: actor, Reason: n.Reason, Details: encoded,
	}
}

// withheld is the row of alert_event about a notification that is not sent.
func withheld(n dbsqlc.NotificationGetRow, why Suppression) dbsqlc.AlertEventAppendParams {
	encoded, _ := json.Marshal(map[string]any{
		"notification_id": n.ID, "channel": n.Channel, "sequence": n.Sequence, "notification": n.Reason,
	})
	return dbsqlc.AlertEventAppendParams{
		AlertID: n.AlertID, Kind: "suppressed", Level: n.Level, Actor: actor, Reason: string(why), Details: encoded,
	}
}

func message(n dbsqlc.NotificationGetRow, publicURL string) Message {
	return Message{
		ID: n.ID, Channel: n.Channel, Reason: Reason(n.Reason), Sequence: int(n.Sequence), Notice: int(n.Notices) + 1, At: n.CreatedAt,
		URL: link(publicURL, n.AlertID), Runbook: runbook(publicURL, n.Rule),
		Alert: Alert{
			ID: n.AlertID, Rule: n.Rule, Subject: n.Subject, Level: n.Level, Status: n.AlertStatus,
			Message: n.Message, Details: n.Details, Occurrences: n.Occurrences,
			FirstSeen: n.FirstSeen, LastSeen: n.LastSeen, ResolvedAt: n.ResolvedAt,
		},
	}
}

func lastError(err error) *string {
	if err == nil {
		return nil
	}
	text := text.Line(err.Error(), maxLastError)
	return &text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
