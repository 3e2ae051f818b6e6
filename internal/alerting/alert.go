package alerting

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"dealbox/internal/level"
	"dealbox/internal/text"
)

// Bounds of what an alert may hold, in bytes.
const (
	maxRule    = 100
	maxSubject = 300 // It stands in an index, whose entries have at most 2,704 bytes.
	maxMessage = 1000
	maxReason  = 500
	maxName    = 100
	maxLink    = 500
)

// Alert is a rule that fires for a subject.
type Alert struct {
	// Rule is the name of one of Rules.
	Rule string
	// Subject is what the rule fires for, such as a content type; "" when there is
	// only one thing that it can fire for.
	Subject string
	Level   level.Level
	// Message says to people what happened to what, on whose side the cause is, what
	// still holds and what to do; texts.go has those of the rules. "{since}" in it
	// becomes the time at which the episode began. It may change within an episode. It
	// is cut at 1,000 bytes; line ends and control characters become spaces. A rule with
	// members words its own.
	Message string
	// Details are values for people and programs; see encodeDetails for bounds.
	Details map[string]any
	// Member joins the episode of the rule and subject; nil for a rule without members.
	Member *Member
}

// Member is one of those that an episode groups, such as a dead document.
type Member struct {
	// Key identifies it, such as mirror.Key.String().
	Key string
	// Name is for people; "" when it has none.
	Name string
	// Value is what it is worth, with its currency; "" when that is not known.
	Value string
	// Shown is what the mirror and the forecast show of it meanwhile, in words that
	// follow "show "; "" when that is not known.
	Shown string
	// Link is where people open it, such as Alerts.DocumentURL; "" for nowhere.
	Link string
	// Reason is why it joins, in words for people, at most 500 bytes.
	Reason string
}

// occurrence is an alert as it is stored: its texts are clean and bounded.
type occurrence struct {
	fingerprint, rule, subject, message string
	level                               level.Level
	details                             []byte // a JSON object
	member                              *Member
}

// occurrence cleans the alert. It fails for mistakes of the caller only. Whatever
// comes from outside (subject, message, details, member) is made to fit instead: an
// alert must never fail the transaction that raises it.
func (a Alert) occurrence() (occurrence, error) {
	if a.Rule == "" {
		return occurrence{}, errors.New("raise an alert: it names no rule")
	}
	if !a.Level.Valid() {
		return occurrence{}, fmt.Errorf("raise alert %s: %s is no alert level", a.Rule, a.Level)
	}
	return occurrence{
		fingerprint: fingerprint(a.Rule, a.Subject), rule: text.Line(a.Rule, maxRule), subject: fit(a.Subject),
		message: text.Line(a.Message, maxMessage), level: a.Level, member: a.Member.clean(), details: encodeDetails(a.Details),
	}, nil
}

// clean returns the member with texts that fit; nil stays nil.
func (m *Member) clean() *Member {
	if m == nil {
		return nil
	}
	clean := &Member{
		Key: fit(m.Key), Name: text.Line(m.Name, maxName), Value: text.Line(m.Value, maxName), Shown: text.Line(m.Shown, maxName),
		Link: text.Line(m.Link, maxLink), Reason: text.Line(m.Reason, maxReason),
	}
	if clean.Link != m.Link {
		clean.Link = "" // one that was cut leads nowhere
	}
	return clean
}

// fingerprint identifies an episode: v1, the rule and the subject.
func fingerprint(rule, subject string) string {
	return "v1:" + text.Line(rule, maxRule) + ":" + fit(subject)
}

// fit makes a subject or a member's key safe. When that changed it, a hash keeps
// two different ones different.
func fit(subject string) string {
	clean := text.Line(subject, maxSubject)
	if clean == subject {
		return subject
	}
	sum := sha256.Sum256([]byte(subject))
	return text.Line(subject, maxSubject-17) + "#" + hex.EncodeToString(sum[:8])
}

// clip bounds what an error repeats of a caller's text.
func clip(s string) string { return text.Line(s, 40) }
