package notify

import (
	"context"
	"fmt"
	"time"

	"dealbox/internal/dbsqlc"
)

// Stats are the numbers of the outbox for the health page.
type Stats struct {
	// Pending are the notifications that wait to be sent, OldestPendingAge the
	// age of the oldest of them (0 when none waits).
	Pending          int64
	OldestPendingAge time.Duration
	// Failed24h are those that failed for good in the last 24 hours.
	Failed24h int64
	// LastSentAt is nil when none was ever sent.
	LastSentAt *time.Time
}

// ReadStats reads the numbers of the outbox in one statement.
func ReadStats(ctx context.Context, db dbsqlc.DBTX) (Stats, error) {
	row, err := dbsqlc.New().NotificationStats(ctx, db)
	if err != nil {
		return Stats{}, fmt.Errorf("read the state of the outbox: %w", err)
	}
	return Stats{
		Pending: row.Pending, OldestPendingAge: seconds(row.OldestPendingSeconds),
		Failed24h: row.Failed24h, LastSentAt: row.LastSentAt,
	}, nil
}
