// Package notify tells people outside about alerts. It is an outbox: a
// notification and its job are written in the transaction that raised or
// resolved the alert, so neither can be lost or sent for nothing. A worker sends
// it later, at least once, under an id that stays the same over all attempts.
package notify

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/level"
)

// Reason says why a notification is made. It is fixed when it is enqueued.
type Reason string

// The reasons.
const (
	// First is the first notification of an episode on a channel, also when an
	// escalation has only now brought the episode up to the channel's floor: a
	// receiver that opens an incident on it sees every incident.
	First Reason = "first"
	// Escalated says that an episode that the channel knows has become worse.
	Escalated Reason = "escalated"
	// Reminder says that an episode that the channel knows goes on.
	Reminder Reason = "reminder"
	// Resolved says that an episode that the channel knows is over.
	Resolved Reason = "resolved"
)

// Suppression says why a notification is not sent.
type Suppression string

// The suppressions.
const (
	// Silenced: an operator does not want to hear of it for a while.
	Silenced Suppression = "silence"
	// Inhibition: another episode, which is told, explains this one.
	Inhibition Suppression = "inhibition"
	// Acknowledged: a reminder of what somebody has acknowledged meanwhile.
	Acknowledged Suppression = "acknowledged"
	// AlreadyResolved: a reminder of what has ended meanwhile.
	AlreadyResolved Suppression = "resolved"
	// NeverSent: the end of an episode whose beginning was never sent.
	NeverSent Suppression = "untold"
)

// Message is what a channel sends: one alert, and why.
//
// The alert is as it is when the message is sent, the reason as it was when the
// message was enqueued. After an outage of the channel the operator reads the
// state of now ("firing", 4,000 occurrences, or resolved already) instead of
// one that is an hour old; alert_event has the state of then.
type Message struct {
	// ID is the notification's; the same over all attempts.
	ID      int64
	Channel string
	Reason  Reason
	// Sequence counts the notifications of the episode on the channel, from 1.
	Sequence int
	// Notice counts those that say that it fires and were sent, with this one, from 1.
	Notice int
	// At is when the notification was enqueued.
	At    time.Time
	Alert Alert
	// To are the receivers of a mail that it is for, when not for all that are configured.
	To []string
	// URL is where people see the alert; "" without a public address.
	URL string
	// Runbook is where people read what the rule means and what to do first; ""
	// without a public address.
	Runbook string
}

// Alert is the episode that a message is about. Its texts are as alerting
// stores them: bounded, valid UTF-8, without control characters.
type Alert struct {
	ID          int64
	Rule        string
	Subject     string
	Level       string // info, warning, error or critical
	Status      string // firing, acknowledged, resolved or suppressed
	Message     string
	Details     json.RawMessage // an object
	Occurrences int64
	FirstSeen   time.Time
	LastSeen    time.Time
	ResolvedAt  *time.Time
}

// Names of the channels. They are stored with each notification, so keep them.
const (
	ChannelWebhook = "webhook"
	ChannelEmail   = "email"
)

// Channel is a way out.
type Channel struct {
	// Name is one of the names above.
	Name string
	// Floor is the lowest level that is sent.
	Floor level.Level
	// Notify sends one message and answers whether a failure is worth another
	// attempt; only the channel can tell. It bounds its own time. Its errors are
	// shown to people and stored, so they never hold a secret. With an Undelivered
	// that is Taken the message is sent.
	Notify func(ctx context.Context, m Message) (retry bool, err error)
}

// link is the address of an alert on the dashboard.
func link(publicURL string, alertID int64) string {
	if publicURL == "" {
		return ""
	}
	return strings.TrimRight(publicURL, "/") + "/#alert-" + strconv.FormatInt(alertID, 10)
}

// runbook is the address of a rule's section of docs/operations.md, which
// Dealbox serves itself.
func runbook(publicURL, rule string) string {
	if publicURL == "" {
		return ""
	}
	return strings.TrimRight(publicURL, "/") + "/docs/operations.md#" + url.PathEscape(rule)
}
