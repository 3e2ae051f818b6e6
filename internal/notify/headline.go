package notify

import (
	"strconv"
	"strings"
	"time"

	"dealbox/internal/text"
)

// Headline returns in words why the message is sent, and when the alert has
// changed since the notification was enqueued, that too.
func (m Message) Headline() string {
	a := m.Alert
	if m.Reason == Resolved && a.ResolvedAt != nil {
		return "resolved after " + a.lasted()
	}
	words := m.firingWords()
	if a.ResolvedAt != nil {
		return words + ", resolved since, after " + a.lasted()
	}
	return words
}

// Prefix names this Dealbox before a headline, such as "[dealbox crm.example.com] "; ""
// when it has no name.
func (m Message) Prefix() string {
	if m.Instance == "" {
		return ""
	}
	return "[dealbox " + m.Instance + "] "
}

// Title returns the headline without its times, which a mail has in its body.
func (m Message) Title() string {
	if m.Reason == Resolved && m.Alert.ResolvedAt != nil {
		return "resolved" // its text says after how long
	}
	words, _, _ := strings.Cut(m.Headline(), ",")
	if m.Alert.ResolvedAt != nil {
		words += ", resolved since"
	}
	return words
}

func (m Message) firingWords() string {
	switch m.Reason {
	case Escalated:
		return "escalated"
	case Reminder:
		return "still firing, " + ordinal(m.Notice) + " notice, since " + Clock(m.Alert.FirstSeen)
	default:
		return "firing"
	}
}

func (a Alert) lasted() string { return text.Span(a.ResolvedAt.Sub(a.FirstSeen)) }

// Clock returns a moment in UTC, to the second: people compare it with their own logs.
func Clock(t time.Time) string { return t.UTC().Format(time.DateTime + " MST") }

var ordinals = [...]string{"", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"}

// ordinal is n in words where they are short, else as 21st.
func ordinal(n int) string {
	if n > 0 && n < len(ordinals) {
		return ordinals[n]
	}
	suffix := "th"
	if tens := n % 100; tens < 11 || tens > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
