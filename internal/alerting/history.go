package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// service is the actor of what Dealbox does by itself.
const service = "dealbox"

// actor says who did something, and why.
type actor struct{ actor, reason string }

// fact are the values that a history row keeps: the episode's row forgets them
// when the rule fires again.
type fact struct {
	From        string          `json:"from,omitempty"` // the level before an escalation
	Message     string          `json:"message,omitempty"`
	Details     json.RawMessage `json:"details,omitempty"`
	Occurrences int64           `json:"occurrences,omitempty"`
	Seconds     *float64        `json:"seconds,omitempty"` // from first_seen to resolved_at
	SilenceID   int64           `json:"silence_id,omitempty"`
	InhibitorID int64           `json:"inhibitor_id,omitempty"`
	ExpiresAt   *time.Time      `json:"expires_at,omitempty"` // of a silence
}

func (f fact) encode() []byte {
	encoded, _ := json.Marshal(f) // Clean texts, numbers and JSON of our own: it cannot fail.
	return encoded
}

func (a *Alerts) append(ctx context.Context, tx pgx.Tx, id int64, kind string, lvl level.Level, who actor, f fact) error {
	err := a.queries.AlertEventAppend(ctx, tx, dbsqlc.AlertEventAppendParams{
		AlertID: id, Kind: kind, Level: lvl.String(), Actor: who.actor, Reason: who.reason, Details: f.encode(),
	})
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", id, err)
	}
	return nil
}

func (a *Alerts) appendRepeat(ctx context.Context, tx pgx.Tx, id int64, lvl level.Level, f fact) error {
	err := a.queries.AlertEventAppendRepeat(ctx, tx, dbsqlc.AlertEventAppendRepeatParams{
		AlertID: id, Level: lvl.String(), Actor: service, Details: f.encode(), QuietSeconds: a.config.RepeatEvery.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", id, err)
	}
	return nil
}
