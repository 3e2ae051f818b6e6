package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/retry"
)

// Config of an Outbox.
type Config struct {
	// Channels may be empty: then nothing is enqueued.
	Channels []Channel
	// PublicURL is where people reach Dealbox, with its base path; "" for no links.
	PublicURL string
	// Instance tells this Dealbox from others that use the same channels; "" for no name.
	Instance string
	// FirstNoticeDelay is how long the first notice of an episode waits, so that a
	// burst is one notice, and what is over by then is none. 0 means 30 s.
	FirstNoticeDelay time.Duration
	// Backoff between the attempts of one notification; MaxRetries is not used.
	// Its zero value means 30 s, doubled each time up to 10 min.
	Backoff retry.Policy
	// GiveUpAfter is the age at which a notification that still cannot be sent
	// becomes failed. 0 means 24 h.
	GiveUpAfter time.Duration
}

// defaultFirstNoticeDelay is what a burst of failures takes, and what a person who
// is on call can spare.
const defaultFirstNoticeDelay = 30 * time.Second

// defaultBackoff: a channel that hiccups hears from us within a minute, and one
// that was down for hours within ten when it is back.
var defaultBackoff = retry.Policy{InitialDelay: 30 * time.Second, MaxDelay: 10 * time.Minute, Base: 2}

// defaultGiveUpAfter: older news is for the history, not for a pager.
const defaultGiveUpAfter = 24 * time.Hour

// Outbox enqueues notifications.
type Outbox struct {
	config  Config
	jobs    *jobs.Client
	queries *dbsqlc.Queries
}

// New returns an Outbox that inserts its jobs with the given client.
func New(c Config, inserter *jobs.Client) *Outbox {
	if c.FirstNoticeDelay == 0 {
		c.FirstNoticeDelay = defaultFirstNoticeDelay
	}
	if c.Backoff == (retry.Policy{}) {
		c.Backoff = defaultBackoff
	}
	if c.GiveUpAfter == 0 {
		c.GiveUpAfter = defaultGiveUpAfter
	}
	return &Outbox{config: c, jobs: inserter, queries: dbsqlc.New()}
}

// Channels returns the names of the channels that are configured in this process.
func (o *Outbox) Channels() []string {
	names := make([]string, len(o.config.Channels))
	for i, c := range o.config.Channels {
		names[i] = c.Name
	}
	return names
}

// channel returns the configured channel of that name, and whether there is one.
func (o *Outbox) channel(name string) (Channel, bool) {
	for _, c := range o.config.Channels {
		if c.Name == name {
			return c, true
		}
	}
	return Channel{}, false
}

// RequeueOrphans inserts a job for each notification that has waited for long and whose job
// is gone: River's leader can discard one, see package jobs.
func (o *Outbox) RequeueOrphans(ctx context.Context, tx pgx.Tx) error {
	rows, err := o.queries.NotificationOrphans(ctx, tx)
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
