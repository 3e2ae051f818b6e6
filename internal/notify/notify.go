// Package notify notifies people of alerts. It is an outbox: a notification and its
// job are written in the transaction that raised or resolved the alert, so neither
// can be lost or sent for nothing. A worker sends it later, at least once, under an
// id that stays the same over all attempts. What a channel does with it is in the
// packages email and webhook.
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

// Reason is why a notification is made. It is fixed when it is enqueued.
type Reason string

// The reasons.
const (
	// First is the first notice of an episode to a receiver, also when an escalation
	// has only now brought the episode up to the channel's floor: a receiver that
	// opens an incident on it sees every incident.
	First Reason = "first"
	// Escalated: an episode that the receiver knows has become worse.
	Escalated Reason = "escalated"
	// Reminder: an episode that the receiver knows goes on.
	Reminder Reason = "reminder"
	// Resolved: an episode that the receiver knows is over.
	Resolved Reason = "resolved"
)

// Suppression is why a notification is not sent.
type Suppression string

// The suppressions.
const (
	// Silenced: an operator muted the alert for a while.
	Silenced Suppression = "silence"
	// Inhibition: the episode that is its cause is open.
	Inhibition Suppression = "inhibition"
	// Acknowledged: somebody takes care of the episode since the notification was
	// enqueued; also of one whose first notice still waited.
	Acknowledged Suppression = "acknowledged"
	// AlreadyResolved: a reminder of an episode that is over, or the first notice of
	// one that ended before the notice was due.
	AlreadyResolved Suppression = "resolved"
	// NeverSent: the end of an episode whose beginning was never sent.
	NeverSent Suppression = "never_sent"
	// Unconfigured: its mailbox is no longer in the settings.
	Unconfigured Suppression = "unconfigured"
)

// Message is what a channel sends to one receiver: one alert, and why.
//
// The alert is as it is when the message is sent, the reason as it was when the
// notification was enqueued. After an outage of the channel the operator reads the
// state of now ("firing", 4,000 occurrences, or resolved already) instead of
// one that is an hour old; alert_event has the state of then.
type Message struct {
	// ID is the notification's; the same over all attempts.
	ID      int64
	Channel string
	// Receiver is the address of the mailbox; "" for the webhook.
	Receiver string
	Reason   Reason
	// Sequence counts the notifications of the episode to the receiver, from 1.
	Sequence int
	// Notice counts those of them that were sent while it fired, and this one, from 1.
	Notice int
	// At is when the notification was enqueued.
	At    time.Time
	Alert Alert
	// Instance tells this Dealbox from others that use the same channel; "" when it has
	// no name.
	Instance string
	// Document is where people open the document that the alert is about in Strapi's
	// editor, or the first of them; "" when it is about none.
	Document string
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

// Channel is a way to notify people.
type Channel struct {
	// Name is one of the names above.
	Name string
	// Floor is the lowest level that is sent.
	Floor level.Level
	// Receivers are the addresses of the mailboxes: each gets a notification of its
	// own. A channel without any has one receiver, "".
	Receivers []string
	// Notify sends one message to its receiver. When it fails, retry reports whether
	// another attempt may help, which only the channel knows. It bounds its own time.
	// Its errors are shown to people and stored, so they never hold a secret.
	Notify func(ctx context.Context, m Message) (retry bool, err error)
}

// AllReceivers returns Receivers, or "" for a channel without any.
func (c Channel) AllReceivers() []string {
	if len(c.Receivers) == 0 {
		return []string{""}
	}
	return c.Receivers
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

// documentLink returns the link among the details of an alert: the address of the
// document that it is about, "" when it has none.
func documentLink(details json.RawMessage) string {
	var d struct {
		Link string `json:"link"`
	}
	if json.Unmarshal(details, &d) != nil {
		return ""
	}
	if u, err := url.Parse(d.Link); err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	return d.Link
}
