package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/notify"
)

// card is a Teams message as the workflow reads it.
type card struct {
	Type        string `json:"type"`
	Attachments []struct {
		ContentType string `json:"contentType"`
		Content     struct {
			Type    string           `json:"type"`
			Version string           `json:"version"`
			Body    []map[string]any `json:"body"`
			Actions []struct{ Type, Title, URL string }
		} `json:"content"`
	} `json:"attachments"`
}

func mustCard(t *testing.T, m notify.Message) card {
	t.Helper()
	body, err := teamsBody(m)
	require.NoError(t, err)
	require.LessOrEqual(t, len(body), maxTeams)
	var c card
	require.NoError(t, json.Unmarshal(body, &c))
	require.Equal(t, "message", c.Type)
	require.Len(t, c.Attachments, 1)
	require.Equal(t, "application/vnd.microsoft.card.adaptive", c.Attachments[0].ContentType)
	require.Equal(t, "AdaptiveCard", c.Attachments[0].Content.Type)
	return c
}

func TestTeams(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 24, 22, 10, 0, 0, time.UTC)
	m := notify.Message{
		Reason: notify.First, Instance: "crm.example.com",
		URL: "https://box.example/#alert-7", Runbook: "https://box.example/docs/operations.md#breaker_opened", Document: "https://cms.example/admin/x",
		Alert: notify.Alert{Rule: "breaker_opened", Subject: "strapi", Level: "critical", Status: "firing", Message: "Strapi does not work", Occurrences: 3, FirstSeen: began},
	}
	c := mustCard(t, m).Attachments[0].Content
	require.Equal(t, "1.4", c.Version)
	require.Equal(t, "attention", c.Body[0]["style"])
	title := c.Body[0]["items"].([]any)[0].(map[string]any)
	require.Equal(t, "CRITICAL firing · dealbox crm.example.com", title["text"])
	require.Equal(t, "Strapi does not work", c.Body[1]["text"])
	require.Contains(t, c.Body[2]["facts"], map[string]any{"title": "Rule", "value": "breaker_opened"})
	require.Contains(t, c.Body[2]["facts"], map[string]any{"title": "Since", "value": "2026-11-24 22:10:00 UTC"})
	var links []string
	for _, a := range c.Actions {
		require.Equal(t, "Action.OpenUrl", a.Type)
		links = append(links, a.Title+" "+a.URL)
	}
	require.Equal(t, []string{"Open Dealbox " + m.URL, "Open in Strapi " + m.Document, "What to do " + m.Runbook}, links)

	for level, style := range map[string]string{"error": "attention", "warning": "warning", "info": "accent"} {
		m.Alert.Level = level
		require.Equal(t, style, mustCard(t, m).Attachments[0].Content.Body[0]["style"])
	}
	m.Alert.ResolvedAt, m.Reason = &began, notify.Resolved
	require.Equal(t, "good", mustCard(t, m).Attachments[0].Content.Body[0]["style"])

	m.URL, m.Runbook, m.Document = "", "", ""
	require.Empty(t, mustCard(t, m).Attachments[0].Content.Actions)
}

// A deal's name is shown as it is: it makes no link, no picture, no list, no mention.
func TestTeams_ForeignText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[click](https://evil.example)":  `\[click\](https://evil.example)`,
		"![x](https://evil.example/p)":   `\!\[x\](https://evil.example/p)`,
		"**bold** _it_ a_b `code`":       "\\*\\*bold\\*\\* \\_it\\_ a_b \\`code\\`",
		"<at>everyone</at>":              `\<at\>everyone\</at\>`,
		"- a list":                       `\- a list`,
		"1. a list":                      `1\. a list`,
		"3 documents":                    "3 documents",
		`a\b`:                            `a\\b`,
		"{{DATE(2026-11-24T22:10:00Z)}}": "{\u200b{DATE(2026-11-24T22:10:00Z)}\u200b}",
		"event_dead_lettered":            "event_dead_lettered",
		"ราคา_ดี":                        "ราคา_ดี",
	} {
		require.Equal(t, want, teamsText(in))
	}
}

// Teams refuses a card of over 28 KB, whatever is in it.
func TestTeams_Size(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"*", "\u2603", "ก", "<", "a"} {
		long := strings.Repeat(s, 20_000)
		mustCard(t, notify.Message{
			Instance: long, URL: "https://x.example/" + long, Document: "https://x.example/" + long[:1000], Runbook: "https://x.example/",
			Alert: notify.Alert{Rule: long, Subject: long, Level: "error", Status: long, Message: long, Details: json.RawMessage(`{"x":"` + long + `"}`)},
		})
	}
}
