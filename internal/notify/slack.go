package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// slackText makes a text inert. Slack wants exactly these three characters
// escaped (docs.slack.dev, Formatting message text), which also defuses
// <!channel>. Mattermost reads @channel in plain text: a zero-width space ends that.
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b")

// slackLink makes an address fit into <address|text>.
var slackLink = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")

// slackBody writes one short paragraph.
func slackBody(m Message) ([]byte, error) {
	a := m.Alert
	var b strings.Builder
	fmt.Fprintf(&b, "*[%s] %s* %s\n%s", strings.ToUpper(a.Level), headline(m), slackText.Replace(a.Rule), slackText.Replace(a.Message))
	fmt.Fprintf(&b, "\nsince %s, %d×", a.FirstSeen.UTC().Format(time.DateTime+" MST"), a.Occurrences)
	if m.URL != "" {
		fmt.Fprintf(&b, " · <%s|open Dealbox>", slackLink.Replace(m.URL))
	}
	return json.Marshal(map[string]string{"text": b.String()})
}

// headline says why the message is sent, and when the alert has changed since
// it was enqueued, that too.
func headline(m Message) string {
	a := m.Alert
	if a.ResolvedAt == nil {
		return firingWord(m.Reason)
	}
	after := a.ResolvedAt.Sub(a.FirstSeen).Round(time.Second).String()
	if m.Reason == Resolved {
		return "resolved after " + after
	}
	return firingWord(m.Reason) + ", resolved since, after " + after
}

func firingWord(r Reason) string {
	if r == Escalated {
		return "escalated"
	}
	return "firing"
}
