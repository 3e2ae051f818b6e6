package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"dealbox/internal/dbsqlc"
)

// Notification is a notification to one receiver, and what became of it. Times are UTC.
type Notification struct {
	ID      int64  `json:"id,string"`
	Channel string `json:"channel"`
	// Receiver is the address of the mailbox; "" for the webhook.
	Receiver string `json:"receiver"`
	Reason   Reason `json:"reason"`
	Sequence int    `json:"sequence"`
	// Status is pending, sent, failed or suppressed.
	Status   string `json:"status"`
	Attempts int    `json:"attempts"`
	// LastError is of the last attempt that failed; nil when there is none, and when
	// sent. It holds no secret.
	LastError     *string    `json:"last_error"`
	CreatedAt     time.Time  `json:"created_at"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	SentAt        *time.Time `json:"sent_at"`
	FailedAt      *time.Time `json:"failed_at"`
	SuppressedAt  *time.Time `json:"suppressed_at"`
	SuppressedBy  *string    `json:"suppressed_by"`
}

// ListByAlert returns the notifications of an episode, oldest first; of more than
// limit the newest.
func ListByAlert(ctx context.Context, db dbsqlc.DBTX, alertID int64, limit int) ([]Notification, error) {
	rows, err := dbsqlc.New().NotificationOf(ctx, db, dbsqlc.NotificationOfParams{AlertID: alertID, MaxRows: int32(limit)})
	if err != nil {
		return nil, fmt.Errorf("read the notifications of alert %d: %w", alertID, err)
	}
	all := make([]Notification, 0, len(rows))
	for _, r := range slices.Backward(rows) {
		all = append(all, Notification{
			ID: r.ID, Channel: r.Channel, Receiver: r.Receiver, Reason: Reason(r.Reason), Sequence: int(r.Sequence), Status: r.Status,
			Attempts: int(r.Attempts), LastError: r.LastError, CreatedAt: r.CreatedAt, NextAttemptAt: r.NextAttemptAt,
			SentAt: r.SentAt, FailedAt: r.FailedAt, SuppressedAt: r.SuppressedAt, SuppressedBy: r.SuppressedBy,
		})
	}
	return all, nil
}
