package webhook

import (
	"encoding/json"
	"strconv"
	"time"

	"dealbox/internal/notify"
)

// standardEvent is the body of Standard: the envelope that Standard Webhooks
// proposes (type, timestamp, data). Times are RFC 3339 in UTC.
type standardEvent struct {
	Type      string       `json:"type"`
	Timestamp time.Time    `json:"timestamp"` // When it was enqueued, so the same over all attempts.
	Data      standardData `json:"data"`
}

type standardData struct {
	Alert    standardAlert `json:"alert"`
	Reason   notify.Reason `json:"reason"`
	Sequence int           `json:"sequence"`
	URL      *string       `json:"url"`
	Runbook  *string       `json:"runbook"`
	Instance string        `json:"instance"` // "" when this Dealbox has no name
}

// standardAlert has the fields of an alert in GET /api/v1/alerts.
type standardAlert struct {
	ID          string          `json:"id"`
	Level       string          `json:"level"`
	Message     string          `json:"message"`
	Details     json.RawMessage `json:"details"`
	Timestamp   time.Time       `json:"timestamp"`
	Rule        string          `json:"rule"`
	Subject     string          `json:"subject"`
	Status      string          `json:"status"`
	Occurrences int64           `json:"occurrences"`
	FirstSeen   time.Time       `json:"first_seen"`
	LastSeen    time.Time       `json:"last_seen"`
	ResolvedAt  *time.Time      `json:"resolved_at"`
}

func standardBody(m notify.Message) ([]byte, error) {
	a := m.Alert
	event := standardEvent{
		Type:      eventType(m.Reason),
		Timestamp: m.At.UTC(),
		Data: standardData{
			Instance: m.Instance, Reason: m.Reason, Sequence: m.Sequence,
			Alert: standardAlert{
				ID: strconv.FormatInt(a.ID, 10), Level: a.Level, Message: a.Message, Details: a.Details,
				Timestamp: a.LastSeen.UTC(), Rule: a.Rule, Subject: a.Subject, Status: a.Status,
				Occurrences: a.Occurrences, FirstSeen: a.FirstSeen.UTC(), LastSeen: a.LastSeen.UTC(),
			},
		},
	}
	if a.ResolvedAt != nil {
		at := a.ResolvedAt.UTC()
		event.Data.Alert.ResolvedAt = &at
	}
	if m.URL != "" {
		event.Data.URL = &m.URL
	}
	if m.Runbook != "" {
		event.Data.Runbook = &m.Runbook
	}
	return json.Marshal(event)
}

// eventType returns the type of a notification in Standard.
func eventType(r notify.Reason) string {
	switch r {
	case notify.Escalated:
		return "alert.escalated"
	case notify.Reminder:
		return "alert.reminder"
	case notify.Resolved:
		return "alert.resolved"
	default:
		return "alert.firing"
	}
}
