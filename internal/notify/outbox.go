package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/retry"
)

// Config of an Outbox.
type Config struct {
	// Channels may be empty: then nothing is enqueued.
	Channels []Channel
	// PublicURL is where people reach Dealbox, with its base path; "" for no links.
	PublicURL string
	// Backoff between the attempts of one notification; MaxRetries is not used.
	// Its zero value means 30 s, doubled each time up to 10 min.
	Backoff retry.Policy
	// GiveUpAfter is the age at which a notification that still cannot be sent
	// becomes failed. 0 means 24 h.
	GiveUpAfter time.Duration
}

// defaultBackoff: a channel that hiccups hears from us within a minute, and one
// that was down for hours within ten when it is back.
var defaultBackoff = retry.Policy{InitialDelay: 30 * time.Second, MaxDelay: 10 * time.Minute, Base: 2}

// defaultGiveUpAfter: older news is for the history, not for a pager.
const defaultGiveUpAfter = 24 * time.Hour

// River works jobs of a lower number first.
const (
	first  = 1 // what is critical
	second = 2
	rest   = 3 // who put a mail off waits behind those who take theirs
)

// Outbox enqueues notifications.
type Outbox struct {
	config Config
	jobs   *jobs.Client
}

// New makes an Outbox that inserts its jobs with the given client.
func New(c Config, inserter *jobs.Client) *Outbox {
	if c.Backoff == (retry.Policy{}) {
		c.Backoff = defaultBackoff
	}
	if c.GiveUpAfter == 0 {
		c.GiveUpAfter = defaultGiveUpAfter
	}
	return &Outbox{config: c, jobs: inserter}
}

// Channels are the names of those that are configured in this process.
func (o *Outbox) Channels() []string { return o.channelsFor(level.Critical) }

// HasChannels tells whether this process can say who is to be told. A command
// cannot: what it raises is told by the service, within a minute.
func (o *Outbox) HasChannels() bool { return len(o.config.Channels) > 0 }

// Enqueue writes, in tx, a notification and its job for each channel that
// should hear of the alert: Resolved goes to those where a firing of the episode
// was enqueued and did not fail for good, whoever resolves it, the others to
// channels whose floor is not above level. The caller holds the lock of the alert's row.
func (o *Outbox) Enqueue(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason) error {
	rows, err := o.write(ctx, tx, alertID, lvl, reason, "")
	if err != nil || len(rows) == 0 {
		return err
	}
	params := make([]river.InsertManyParams, len(rows))
	for i, row := range rows {
		params[i] = river.InsertManyParams{
			Args:       SendArgs{NotificationID: row.ID},
			InsertOpts: &river.InsertOpts{Queue: queueOf(row.Channel), Priority: priorityOf(lvl)},
		}
	}
	if _, err := o.jobs.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("insert the jobs that send notifications of alert %d: %w", alertID, err)
	}
	return nil
}

// EnqueueSuppressed writes, in tx, what Enqueue would, as not sent for the reason given.
func (o *Outbox) EnqueueSuppressed(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason, why Suppression) error {
	_, err := o.write(ctx, tx, alertID, lvl, reason, why)
	return err
}

func (o *Outbox) write(ctx context.Context, tx pgx.Tx, alertID int64, lvl level.Level, reason Reason, why Suppression) ([]dbsqlc.NotificationEnqueueRow, error) {
	var channels []string
	if reason != Resolved {
		if channels = o.channelsFor(lvl); len(channels) == 0 {
			return nil, nil
		}
	}
	rows, err := dbsqlc.New().NotificationEnqueue(ctx, tx, dbsqlc.NotificationEnqueueParams{
		AlertID: alertID, Reason: string(reason), Channels: channels, SuppressedBy: string(why),
	})
	if err != nil {
		return nil, fmt.Errorf("write notifications of alert %d: %w", alertID, err)
	}
	return rows, nil
}

// Rescue inserts a job for each notification that waits for long and whose job
// is gone: River's rescuer can discard one without a word.
func (o *Outbox) Rescue(ctx context.Context, tx pgx.Tx) error {
	rows, err := dbsqlc.New().NotificationOrphans(ctx, tx)
	if err != nil || len(rows) == 0 {
		return err
	}
	params := make([]river.InsertManyParams, len(rows))
	for i, row := range rows {
		opts := jobs.LiveOnly()
		opts.Queue = queueOf(row.Channel)
		params[i] = river.InsertManyParams{Args: SendArgs{NotificationID: row.ID}, InsertOpts: opts}
	}
	if _, err := o.jobs.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("insert the jobs of %d notifications that lost theirs: %w", len(rows), err)
	}
	return nil
}

// queueOf gives mail a queue of its own: a server that answers slowly, as they do
// to shake off spammers, must not take the slots of the other channels.
func queueOf(channel string) string {
	if channel == ChannelEmail {
		return jobs.QueueMail
	}
	return jobs.QueueNotify
}

func priorityOf(lvl level.Level) int {
	if lvl >= level.Critical {
		return first
	}
	return second
}

// channelsFor are the channels whose floor is not above level.
func (o *Outbox) channelsFor(lvl level.Level) []string {
	var names []string
	for _, c := range o.config.Channels {
		if lvl >= c.Floor {
			names = append(names, c.Name)
		}
	}
	return names
}

// channel finds a configured channel by its name.
func (o *Outbox) channel(name string) (Channel, bool) {
	for _, c := range o.config.Channels {
		if c.Name == name {
			return c, true
		}
	}
	return Channel{}, false
}
