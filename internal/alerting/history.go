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

// record is a row of an episode's history.
type record struct {
	kind  string
	level level.Level // of the episode afterwards
	cause
	values
}

// cause is who changed an episode, and why. No actor means Dealbox itself.
type cause struct{ actor, reason string }

// service is the actor of what Dealbox does by itself.
const service = "dealbox"

// values are those of the moment: the episode's row loses them when the rule
// fires again.
type values struct {
	From        string          `json:"from,omitempty"` // the level before an escalation
	Message     string          `json:"message,omitempty"`
	Details     json.RawMessage `json:"details,omitempty"`
	Occurrences int64           `json:"occurrences,omitempty"`
	Members     int64           `json:"members,omitempty"` // when it was acknowledged
	Member      string          `json:"member,omitempty"`  // who joined or left
	Name        string          `json:"name,omitempty"`
	Seconds     *float64        `json:"seconds,omitempty"` // from first_seen to resolved_at
	SilenceID   int64           `json:"silence_id,omitempty"`
	InhibitorID int64           `json:"inhibitor_id,omitempty"`
	ExpiresAt   *time.Time      `json:"expires_at,omitempty"` // of a silence
}

// append writes a row of history. A repeat that comes too soon is left out.
func (a *Alerts) append(ctx context.Context, tx pgx.Tx, id int64, r record) error {
	if r.actor == "" {
		r.actor = service
	}
	encoded, err := json.Marshal(r.values) // Clean texts, numbers and JSON of our own.
	if err == nil && r.kind == "repeated" {
		err = a.queries.AlertEventAppendRepeat(ctx, tx, dbsqlc.AlertEventAppendRepeatParams{
			AlertID: id, Level: r.level.String(), Actor: r.actor, Details: encoded, QuietSeconds: a.config.RepeatEvery.Seconds(),
		})
	} else if err == nil {
		err = a.queries.AlertEventAppend(ctx, tx, dbsqlc.AlertEventAppendParams{
			AlertID: id, Kind: r.kind, Level: r.level.String(), Actor: r.actor, Reason: r.reason, Details: encoded,
		})
	}
	if err != nil {
		return fmt.Errorf("append to the history of alert %d: %w", id, err)
	}
	return nil
}
