package notify

import (
	"encoding/json"
	"strconv"
	"time"
)

// standardEvent is the body of FormatStandard: the envelope that Standard
// Webhooks proposes (type, timestamp, data). Times are RFC 3339 in UTC.
type standardEvent struct {
	Type      string       `json:"type"`
	Timestamp time.Time    `json:"timestamp"` // When it was enqueued, so the same over all attempts.
	Data      standardData `json:"data"`
}

type standardData struct {
	Alert    standardAlert `json:"alert"`
	Reason   Reason        `json:"reason"`
	Sequence int           `json:"sequence"`
	URL      *string       `json:"url"`
	Runbook  *string       `json:"runbook"`
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

// eventType is what the message is called in FormatStandard.
func eventType(r Reason) string {
	switch r {
	case Escalated:
		return "alert.escalated"
	case Reminder:
		return "alert.reminder"
	case Resolved:
		return "alert.resolved"
	default:
		return "alert.firing"
	}
}

func standardBody(m Message) ([]byte, error) {
	a := m.Alert
	event := standardEvent{
		Type:      eventType(m.Reason),
		Timestamp: m.At.UTC(),
		Data: standardData{
			Reason: m.Reason, Sequence: m.Sequence,
			Alert: standardAlert{
				ID: strconv.FormatInt(a.ID, 10), Level: a.Level, Message: a.Message, Details: a.Details,
				Timestamp: a.LastSeen.UTC(), Rule: a.Rule, Subject: a.Subject, Status: a.Status,
				Occurrences: a.Occurrences, FirstSeen: a.FirstSeen.UTC(), LastSeen: a.LastSeen.UTC(),
				ResolvedAt: utc(a.ResolvedAt),
			},
		},
	}
	if m.URL != "" {
		event.Data.URL = &m.URL
	}
	if m.Runbook != "" {
		event.Data.Runbook = &m.Runbook
	}
	return json.Marshal(event)
}
