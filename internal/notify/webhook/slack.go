package webhook

import (
	"encoding/json"
	"fmt"
	"strings"

	"dealbox/internal/notify"
)

// slackText makes a text inert. Slack wants exactly these three characters
// escaped (docs.slack.dev, Formatting message text), which also defuses
// <!channel>. Mattermost reads @channel in plain text: a zero-width space ends that.
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b")

// slackLink makes an address fit into <address|text>.
var slackLink = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")

// slackBody writes one short paragraph.
func slackBody(m notify.Message) ([]byte, error) {
	a := m.Alert
	var b strings.Builder
	fmt.Fprintf(&b, "*%s[%s] %s* %s\n%s", slackText.Replace(m.Prefix()), strings.ToUpper(a.Level), m.Headline(), slackText.Replace(a.Rule), slackText.Replace(a.Message))
	fmt.Fprintf(&b, "\nsince %s, %d×", notify.Clock(a.FirstSeen), a.Occurrences)
	if m.URL != "" {
		fmt.Fprintf(&b, " · <%s|open Dealbox>", slackLink.Replace(m.URL))
	}
	if m.Document != "" {
		fmt.Fprintf(&b, " · <%s|open in Strapi>", slackLink.Replace(m.Document))
	}
	if m.Runbook != "" {
		fmt.Fprintf(&b, " · <%s|what to do>", slackLink.Replace(m.Runbook))
	}
	return json.Marshal(map[string]string{"text": b.String()})
}
