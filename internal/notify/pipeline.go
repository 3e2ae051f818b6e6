package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/text"
)

// The way of a notification, in order: Enqueue writes its row and its job; Work
// reads it, lets those before it go first, suppresses or sends it, and records what
// became of it.

const (
	// maxLastError bounds what is kept of an error, in bytes.
	maxLastError = 500
	// recordTimeout bounds the transaction that records the result of an attempt. It
	// runs also while the worker is being stopped: what was sent must be marked, or it
	// is sent twice.
	recordTimeout = 5 * time.Second
	// waitBehind is how long a notification waits after the one that must go first.
	waitBehind = time.Second
	// deployGrace is how long a notification waits for a process that knows its
	// mailbox: during a rolling deploy some have the new settings and some the old.
	deployGrace = 10 * time.Minute
)

// HasChannels reports whether this process knows whom to notify. A command does
// not: the service notifies of what a command raises, within a minute.
func (o *Outbox) HasChannels() bool { return len(o.config.Channels) > 0 }

// Enqueue writes, in tx, a notification and its job for each receiver that should
// be notified of the alert. Resolved goes to receivers for whom a firing of the
// episode was enqueued and did not fail for good, whoever resolves it; every other
// reason goes to those of channels whose floor is not above lvl. The first notice of
// an episode is due after Config.FirstNoticeDelay, every other one at once. The
// caller holds the lock of the alert's row.
func (o *Outbox) Enqueue(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason) error {
	rows, err := o.insert(ctx, tx, alertID, lvl, reason, "")
	if err != nil || len(rows) == 0 {
		return err
	}
	params := make([]river.InsertManyParams, len(rows))
	for i, row := range rows {
		opts := &river.InsertOpts{Queue: queueOf(row.Channel), Priority: priorityOf(lvl)}
		if row.NextAttemptAt != nil {
			opts.ScheduledAt = *row.NextAttemptAt // by the database's clock, as River compares
		}
		params[i] = river.InsertManyParams{Args: SendArgs{NotificationID: row.ID}, InsertOpts: opts}
	}
	if _, err := o.jobs.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("insert the jobs that send notifications of alert %d: %w", alertID, err)
	}
	return nil
}

// EnqueueSuppressed writes, in tx, the notifications that Enqueue would write, as
// not sent for the reason given.
func (o *Outbox) EnqueueSuppressed(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason, why Suppression) error {
	_, err := o.insert(ctx, tx, alertID, lvl, reason, why)
	return err
}

func (o *Outbox) insert(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason, why Suppression) ([]dbsqlc.NotificationEnqueueRow, error) {
	p := dbsqlc.NotificationEnqueueParams{
		AlertID: alertID, Reason: string(reason), SuppressedBy: string(why), FirstDelaySeconds: o.config.FirstNoticeDelay.Seconds(),
	}
	if reason != Resolved {
		if p.Channels, p.Receivers = o.receiversFor(lvl); len(p.Channels) == 0 {
			return nil, nil
		}
	}
	rows, err := o.queries.NotificationEnqueue(ctx, tx, p)
	if err != nil {
		return nil, fmt.Errorf("write notifications of alert %d: %w", alertID, err)
	}
	return rows, nil
}

// receiversFor returns the receivers of the channels whose floor is not above lvl,
// and beside each its channel's name.
func (o *Outbox) receiversFor(lvl level.Level) (channels, receivers []string) {
	for _, c := range o.config.Channels {
		if lvl < c.Floor {
			continue
		}
		for _, r := range c.AllReceivers() {
			channels, receivers = append(channels, c.Name), append(receivers, r)
		}
	}
	return channels, receivers
}

// queueOf returns the River queue of a channel. Mail has its own: a server that
// answers slowly, as they do to shake off spammers, must not take the slots of the
// other channels.
func queueOf(channel string) string {
	if channel == ChannelEmail {
		return jobs.QueueMail
	}
	return jobs.QueueNotify
}

// priorityOf returns the River priority of a level; lower numbers go first.
func priorityOf(lvl level.Level) int {
	if lvl >= level.Critical {
		return 1
	}
	return 2
}

// SendArgs is the job that sends one notification.
type SendArgs struct {
	NotificationID int64 `json:"notification_id"`
}

// Kind implements river.JobArgs.
func (SendArgs) Kind() string { return "notification_send" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (SendArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: jobs.QueueNotify} }

// Outcome is what became of a notification, for the history of its alert.
type Outcome struct {
	AlertID int64
	Kind    string // notified, notification_failed or suppressed
	Level   string
	Reason  string         // of the notification; of one that is suppressed, the Suppression
	Details map[string]any // numbers and clean strings
}

// Recorder writes an Outcome, in tx, into the history of the alert.
type Recorder func(ctx context.Context, tx pgx.Tx, o Outcome) error

// SendWorker sends notifications through the channels of an Outbox. Each goes
// out at least once: a worker that dies between sending and marking leaves it to
// the next one, which sends it again under the same id.
type SendWorker struct {
	river.WorkerDefaults[SendArgs]

	pool    *pgxpool.Pool
	outbox  *Outbox
	history Recorder
	log     *slog.Logger
	queries *dbsqlc.Queries
}

// NewSendWorker returns the worker of an Outbox. A nil logger discards.
func NewSendWorker(pool *pgxpool.Pool, outbox *Outbox, history Recorder, logger *slog.Logger) *SendWorker {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &SendWorker{pool: pool, outbox: outbox, history: history, log: logger, queries: dbsqlc.New()}
}

// NextRetry is for what says nothing about the channel, such as a database that
// is away; a failed attempt to send snoozes the job instead.
func (w *SendWorker) NextRetry(job *river.Job[SendArgs]) time.Time {
	return time.Now().Add(w.outbox.config.Backoff.Delay(job.Attempt-1, rand.Float64))
}

// Work sends the notification, unless it is no longer pending or should not be sent
// any more. No transaction is open while it sends.
func (w *SendWorker) Work(ctx context.Context, job *river.Job[SendArgs]) error {
	n, err := w.queries.NotificationGet(ctx, w.pool, job.Args.NotificationID)
	if errors.Is(err, pgx.ErrNoRows) {
		w.log.WarnContext(ctx, "a notification to send is gone", "notification_id", job.Args.NotificationID)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read notification %d: %w", job.Args.NotificationID, err)
	}
	switch {
	case n.Status != "pending":
		return nil
	case n.Waiting > 0:
		return river.JobSnooze(w.untilNext(seconds(n.WaitingSeconds)))
	}
	if why := suppression(n, w.outbox.config.FirstNoticeDelay); why != "" {
		return w.suppress(ctx, job, n, why)
	}
	if !w.knowsReceiver(n) {
		if seconds(n.AgeSeconds) < deployGrace {
			return river.JobSnooze(w.outbox.config.Backoff.InitialDelay)
		}
		return w.suppress(ctx, job, n, Unconfigured)
	}
	return w.attempt(ctx, job, n)
}

// untilNext returns how long a notification waits for the one before it, which is
// due in next. It keeps the notifications of an episode in order, also after an
// outage of the channel: an operator must not read "resolved" before "firing".
func (w *SendWorker) untilNext(next time.Duration) time.Duration {
	backoff := w.outbox.config.Backoff
	return min(max(next, 0)+min(waitBehind, backoff.InitialDelay), backoff.MaxDelay)
}

// knowsReceiver reports whether the receiver of a notification is in the settings
// of its channel. Of a channel that this process does not know it knows nothing.
func (w *SendWorker) knowsReceiver(n dbsqlc.NotificationGetRow) bool {
	channel, ok := w.outbox.channel(n.Channel)
	return !ok || slices.Contains(channel.AllReceivers(), n.Receiver)
}

// suppress marks a notification as not sent.
func (w *SendWorker) suppress(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow, why Suppression) error {
	by := string(why)
	details := detailsOf(n)
	details["notification"] = n.Reason
	outcome := Outcome{AlertID: n.AlertID, Kind: "suppressed", Level: n.Level, Reason: by, Details: details}
	return w.record(ctx, job, n, outcome, func(tx pgx.Tx) (int64, error) {
		return w.queries.NotificationSuppressed(ctx, tx, dbsqlc.NotificationSuppressedParams{ID: n.ID, SuppressedBy: &by})
	})
}

// attempt tries to send a notification and writes the result.
func (w *SendWorker) attempt(ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow) error {
	number, err := w.queries.NotificationBegin(ctx, w.pool, n.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // Another worker has finished it since it was read.
	}
	if err != nil {
		return fmt.Errorf("count an attempt of notification %d: %w", n.ID, err)
	}
	again, err := w.send(ctx, n)
	if err != nil && ctx.Err() != nil {
		// Being stopped says nothing about the channel.
		return fmt.Errorf("send notification %d: %w", n.ID, ctx.Err())
	}
	a := attempt{number: int(number), age: seconds(n.AgeSeconds), retry: again, err: err}
	then := next(a, w.outbox.config.Backoff, w.outbox.config.GiveUpAfter, rand.Float64)
	w.logFailure(ctx, n, a, then)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	switch then.status {
	case "sent":
		return w.record(ctx, job, n, attempted(n, a, "notified"), func(tx pgx.Tx) (int64, error) {
			return w.queries.NotificationSent(ctx, tx, dbsqlc.NotificationSentParams{ID: n.ID, Members: n.Members})
		})
	case "failed":
		return w.record(ctx, job, n, attempted(n, a, "notification_failed"), func(tx pgx.Tx) (int64, error) {
			return w.queries.NotificationFailed(ctx, tx, dbsqlc.NotificationFailedParams{ID: n.ID, Members: n.Members, LastError: lastError(a.err)})
		})
	}
	return w.tryAgain(ctx, n, a, then.wait)
}

// send hands the message to its channel. A channel that this process does not
// know may be known to another, as during a rolling deploy, so that is tried again.
func (w *SendWorker) send(ctx context.Context, n dbsqlc.NotificationGetRow) (retry bool, err error) {
	channel, ok := w.outbox.channel(n.Channel)
	if !ok {
		return true, fmt.Errorf("channel %s is not configured; configure it again, or this notification fails when it is too old", n.Channel)
	}
	return channel.Notify(ctx, newMessage(n, w.outbox.config))
}

func newMessage(n dbsqlc.NotificationGetRow, c Config) Message {
	return Message{
		ID: n.ID, Channel: n.Channel, Receiver: n.Receiver, Reason: Reason(n.Reason), Sequence: int(n.Sequence),
		Notice: int(n.Notices) + 1, At: n.CreatedAt, Instance: c.Instance,
		Document: documentLink(n.Details), URL: link(c.PublicURL, n.AlertID), Runbook: runbook(c.PublicURL, n.Rule),
		Alert: Alert{
			ID: n.AlertID, Rule: n.Rule, Subject: n.Subject, Level: n.Level, Status: n.AlertStatus,
			Message: n.Message, Details: n.Details, Occurrences: n.Occurrences,
			FirstSeen: n.FirstSeen, LastSeen: n.LastSeen, ResolvedAt: n.ResolvedAt,
		},
	}
}

// logFailure logs an attempt that failed. This is the edge: nobody else logs it.
func (w *SendWorker) logFailure(ctx context.Context, n dbsqlc.NotificationGetRow, a attempt, then step) {
	if a.err == nil {
		return
	}
	log := w.log.With("notification_id", n.ID, "alert_id", n.AlertID, "channel", n.Channel,
		"reason", n.Reason, "attempt", a.number, "error", *lastError(a.err))
	if n.Receiver != "" {
		log = log.With("receiver", n.Receiver)
	}
	if then.status == "failed" {
		log.ErrorContext(ctx, "a notification failed for good")
		return
	}
	log.WarnContext(ctx, "a notification could not be sent and is tried again", "wait", then.wait.String())
}

// attempted returns the Outcome of a notification's last attempt.
func attempted(n dbsqlc.NotificationGetRow, a attempt, kind string) Outcome {
	details := detailsOf(n)
	details["attempts"] = a.number
	if a.err != nil {
		details["error"] = *lastError(a.err)
	}
	return Outcome{AlertID: n.AlertID, Kind: kind, Level: n.Level, Reason: n.Reason, Details: details}
}

func detailsOf(n dbsqlc.NotificationGetRow) map[string]any {
	details := map[string]any{"notification_id": n.ID, "channel": n.Channel, "sequence": n.Sequence}
	if n.Receiver != "" {
		details["receiver"] = n.Receiver
	}
	return details
}

// record marks the notification, writes the history and completes the job, all or
// nothing.
func (w *SendWorker) record(
	ctx context.Context, job *river.Job[SendArgs], n dbsqlc.NotificationGetRow, o Outcome, mark func(tx pgx.Tx) (int64, error),
) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		marked, err := mark(tx)
		if err != nil {
			return err
		}
		// Not marked: another worker had the same job and was faster.
		if marked > 0 {
			if err := w.history(ctx, tx, o); err != nil {
				return err
			}
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err != nil {
		return fmt.Errorf("record that notification %d is %s: %w", n.ID, o.Kind, err)
	}
	return nil
}

// tryAgain notes a failed attempt and lets the job wait for the next one.
func (w *SendWorker) tryAgain(ctx context.Context, n dbsqlc.NotificationGetRow, a attempt, wait time.Duration) error {
	err := w.queries.NotificationRetry(ctx, w.pool, dbsqlc.NotificationRetryParams{
		ID: n.ID, LastError: lastError(a.err), WaitSeconds: wait.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("note a failed attempt of notification %d: %w", n.ID, err)
	}
	return river.JobSnooze(wait)
}

func lastError(err error) *string {
	if err == nil {
		return nil
	}
	line := text.Line(err.Error(), maxLastError)
	return &line
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
