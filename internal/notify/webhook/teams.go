package webhook

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// maxTeams bounds a card, in bytes: Teams refuses what is over 28 KB.
const maxTeams = 28_000

// teamsMessage is what a workflow of Teams takes: a message with one Adaptive Card
// (learn.microsoft.com, Create incoming webhooks with Workflows).
type teamsMessage struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	ContentURL  *string   `json:"contentUrl"` // null: the content is here
	Content     teamsCard `json:"content"`
}

type teamsCard struct {
	Schema   string           `json:"$schema"`
	Type     string           `json:"type"`
	Version  string           `json:"version"`
	MSTeams  map[string]any   `json:"msteams"`
	Fallback string           `json:"fallbackText"`
	Body     []map[string]any `json:"body"`
	Actions  []teamsAction    `json:"actions,omitempty"`
}

type teamsAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// teamsVersion is the newest that Teams shows on telephones, too.
const teamsVersion = "1.4"

func teamsBody(m notify.Message) ([]byte, error) {
	body, err := json.Marshal(teamsCardOf(m, text.Line(m.Alert.Message, 1000)))
	if err != nil || len(body) <= maxTeams {
		return body, err
	}
	// The card has no details, so only characters that JSON makes longer can do this.
	return json.Marshal(teamsCardOf(m, text.Line(m.Alert.Message, 300)))
}

func teamsCardOf(m notify.Message, message string) teamsMessage {
	a := m.Alert
	// No brackets as in other channels: Markdown would need them escaped.
	title := strings.ToUpper(a.Level) + " " + m.Headline()
	if m.Instance != "" {
		title += " · dealbox " + m.Instance
	}
	card := teamsCard{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: teamsVersion,
		MSTeams: map[string]any{"width": "Full"}, Fallback: teamsText(text.Line(title+": "+message, 1000)),
		Body: []map[string]any{
			{
				"type": "Container", "style": teamsStyle(a), "bleed": true,
				"items": []map[string]any{{"type": "TextBlock", "text": teamsText(text.Line(title, 300)), "weight": "Bolder", "wrap": true}},
			},
			{"type": "TextBlock", "text": teamsText(message), "wrap": true},
			{"type": "FactSet", "facts": teamsFacts(a)},
		},
	}
	for _, link := range []struct{ title, url string }{{"Open Dealbox", m.URL}, {"Open in Strapi", m.Document}, {"What to do", m.Runbook}} {
		if link.url != "" && len(link.url) <= 2000 {
			card.Actions = append(card.Actions, teamsAction{"Action.OpenUrl", link.title, link.url})
		}
	}
	return teamsMessage{Type: "message", Attachments: []teamsAttachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}}}
}

// teamsStyle returns the colour of a level; what is over is green.
func teamsStyle(a notify.Alert) string {
	switch {
	case a.ResolvedAt != nil:
		return "good"
	case a.Level == "critical" || a.Level == "error":
		return "attention"
	case a.Level == "warning":
		return "warning"
	}
	return "accent"
}

func teamsFacts(a notify.Alert) []map[string]string {
	var facts []map[string]string
	for _, f := range [][2]string{
		{"Rule", a.Rule}, {"Subject", a.Subject}, {"Since", notify.Clock(a.FirstSeen)}, {"Times", fmt.Sprint(a.Occurrences)}, {"Status", a.Status},
	} {
		if f[1] != "" {
			facts = append(facts, map[string]string{"title": f[0], "value": teamsText(text.Line(f[1], 300))})
		}
	}
	return facts
}

// teamsEscapes are the characters of Markdown, each behind a backslash, and the ends of
// {{DATE(…)}}, which a card expands, parted by a zero-width space.
var teamsEscapes = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`, "~", `\~`, "|", `\|`, "!", `\!`,
	"{{", "{\u200b{", "}}", "}\u200b}",
)

// teamsList is what makes a text a list.
var teamsList = regexp.MustCompile(`^(\d*)([-+.)]) `)

// teamsText makes a text inert: a card reads Markdown in its texts and facts.
func teamsText(s string) string {
	s = teamsEscapes.Replace(s)
	s = escapeUnderscores(s)
	return teamsList.ReplaceAllString(s, `$1\$2 `)
}

// escapeUnderscores escapes those that do not stand within a word: Markdown leaves
// the others alone, as in the name of a rule.
func escapeUnderscores(s string) string {
	var b strings.Builder
	runes := []rune(s)
	within := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	for i, r := range runes {
		if r == '_' && (!within(i-1) || !within(i+1)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
