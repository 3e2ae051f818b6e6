package notify

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"dealbox/internal/dbsqlc"
)

// Digest tells of notifications that were held back because there were too many.
type Digest struct {
	Count  int64         `json:"count"`
	Groups []DigestGroup `json:"groups"` // the worst first
}

// DigestGroup counts the notifications of one rule, level and reason.
type DigestGroup struct {
	Rule   string `json:"rule"`
	Level  string `json:"level"`
	Reason Reason `json:"reason"`
	Count  int64  `json:"count"`
}

// share is how many notifications of a level a channel may be given in a minute.
// A quarter of them is kept for what is critical, so that a storm of lesser ones
// cannot hold it back.
func share(perMinute int, level string) int {
	if level == "critical" {
		return perMinute
	}
	return perMinute - perMinute/4
}

// admit says whether the channel may be given one more notification this minute.
// Each attempt counts: a receiver that comes back after an hour would be flooded
// by what has waited for it, else.
func (w *SendWorker) admit(ctx context.Context, n dbsqlc.NotificationGetRow) (bool, error) {
	rows, err := w.queries.NotificationAdmit(ctx, w.pool, dbsqlc.NotificationAdmitParams{
		Channel: n.Channel, MaxSent: int32(share(w.outbox.config.PerMinute, n.Level)),
	})
	if err != nil {
		return false, fmt.Errorf("count notification %d for its channel: %w", n.ID, err)
	}
	return rows > 0, nil
}

// Digest makes a digest for each channel that holds something back, unless one is
// under way: then it waits for the next. What a digest tells of is fixed here: an
// attempt may have arrived though nobody knows, and a receiver that drops
// duplicates by their id would drop what another attempt added. It answers how many it made.
func (o *Outbox) Digest(ctx context.Context, tx pgx.Tx) (int, error) {
	q := dbsqlc.New()
	storms, err := q.NotificationStorms(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("look for notifications that were held back: %w", err)
	}
	for _, s := range storms {
		if _, err := q.AlertLock(ctx, tx, s.AlertID); err != nil {
			return 0, fmt.Errorf("lock alert %d: %w", s.AlertID, err)
		}
		id, err := q.NotificationDigest(ctx, tx, dbsqlc.NotificationDigestParams{AlertID: s.AlertID, Channel: s.Channel})
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("make a digest for channel %s: %w", s.Channel, err)
		}
		if err := q.NotificationCollect(ctx, tx, dbsqlc.NotificationCollectParams{DigestID: &id, Channel: s.Channel}); err != nil {
			return 0, fmt.Errorf("collect what digest %d tells of: %w", id, err)
		}
		if _, err := o.jobs.InsertTx(ctx, tx, SendArgs{NotificationID: id}, &river.InsertOpts{Queue: queueOf(s.Channel), Priority: first}); err != nil {
			return 0, fmt.Errorf("insert the job of digest %d: %w", id, err)
		}
	}
	return len(storms), nil
}

// digested counts what a digest tells of.
func (w *SendWorker) digested(ctx context.Context, id int64) (*Digest, error) {
	rows, err := w.queries.NotificationDigested(ctx, w.pool, &id)
	if err != nil {
		return nil, fmt.Errorf("read what digest %d tells of: %w", id, err)
	}
	d := &Digest{}
	for _, r := range rows {
		d.Count += r.Notifications
		d.Groups = append(d.Groups, DigestGroup{Rule: r.Rule, Level: r.Level, Reason: Reason(r.Reason), Count: r.Notifications})
	}
	return d, nil
}
