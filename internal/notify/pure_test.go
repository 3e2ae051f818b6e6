package notify

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"dealbox/internal/retry"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	longest := func() float64 { return 1 } // The upper end of the jitter.
	asked := func(d time.Duration) error { return &sendError{text: "busy", retryAfter: d} }
	for name, c := range map[string]struct {
		attempt attempt
		want    verdict
	}{
		"Sent":                  {attempt{number: 1}, verdict{sent: true}},
		"SentThoughOld":         {attempt{number: 9, age: 48 * time.Hour}, verdict{sent: true}},
		"Final":                 {attempt{number: 1, err: errors.New("no")}, verdict{failed: true}},
		"First":                 {attempt{number: 1, retry: true, err: errors.New("no")}, verdict{wait: 30 * time.Second}},
		"Third":                 {attempt{number: 3, retry: true, err: errors.New("no")}, verdict{wait: 2 * time.Minute}},
		"Capped":                {attempt{number: 60, retry: true, err: errors.New("no")}, verdict{wait: 10 * time.Minute}},
		"OneSecondBeforeTheEnd": {attempt{number: 60, retry: true, age: 24*time.Hour - time.Second, err: errors.New("no")}, verdict{wait: 10 * time.Minute}},
		"TooOld":                {attempt{number: 2, retry: true, age: 24 * time.Hour, err: errors.New("no")}, verdict{failed: true}},
		"ReceiverAsksLonger":    {attempt{number: 1, retry: true, err: asked(5 * time.Minute)}, verdict{wait: 5 * time.Minute}},
		"ReceiverAsksShorter":   {attempt{number: 2, retry: true, err: asked(time.Second)}, verdict{wait: time.Minute}},
		"ReceiverAsksTooMuch":   {attempt{number: 1, retry: true, err: asked(100 * time.Hour)}, verdict{wait: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, decide(c.attempt, defaultBackoff, defaultGiveUpAfter, longest))
		})
	}
}

func TestDecide_JitterSpreads(t *testing.T) {
	t.Parallel()
	half := func() float64 { return 0.5 }
	got := decide(attempt{number: 1, retry: true, err: errors.New("no")}, retry.Policy{InitialDelay: time.Minute}, time.Hour, half)
	require.Equal(t, 30*time.Second, got.wait)
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a deal", "a deal"},
		{"  kept  inside ", "kept  inside"},
		{"two\nlines", "two lines"},
		{"a\r\n\x00\t\x7f\u0085b", "a b"},
		{"\nedges\n", "edges"},
		{"\xff\xc3(", "\ufffd\ufffd("},
		{"\xed\xa0\x80", "\ufffd\ufffd\ufffd"}, // A lone surrogate.
		{"a\u2028b\u2029c", "a b c"},
		{"\u202etxt.exe\u2066", "txt.exe"},
		{"\ufeffbom", "bom"},
		{"ราคา 💰 ok", "ราคา 💰 ok"},
		{strings.Repeat("x", 21), strings.Repeat("x", 17) + "…"},
		{strings.Repeat("x", 20), strings.Repeat("x", 20)},
		{strings.Repeat("ร", 10), strings.Repeat("ร", 5) + "…"},
	} {
		if c.in == "ราคา 💰 ok" {
			require.Equal(t, c.want, Line(c.in, 100))
			continue
		}
		require.Equal(t, c.want, Line(c.in, 20), "%q", c.in)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x00\xff\u202e", 10)
	f.Add(strings.Repeat("ร", 100), 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 3 + limit&1023
		got := Line(s, limit)
		require.LessOrEqual(t, len(got), limit)
		require.True(t, utf8.ValidString(got))
		require.NotContains(t, got, "\x00")
		require.Equal(t, -1, strings.IndexFunc(got, unicode.IsControl))
		require.Equal(t, got, Line(got, limit), "a safe line stays as it is")
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 5, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"120":                           2 * time.Minute,
		" 7 ":                           7 * time.Second,
		"-1":                            0,
		"1.5":                           0,
		"soon":                          0,
		"99999999999999999999":          0,
		"2147483647":                    2147483647 * time.Second,
		"Tue, 24 Nov 2026 05:01:00 GMT": time.Minute,
		"Tue, 24 Nov 2026 04:00:00 GMT": 0,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Tue, 24 Nov 2026 05:01:00 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		require.GreaterOrEqual(t, retryAfter(http.Header{"Retry-After": {value}}, time.Now()), time.Duration(0))
	})
}

func TestWithhold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		standing standing
		want     Suppression
	}{
		"First":                 {standing{reason: First, status: "firing"}, ""},
		"FirstAcknowledged":     {standing{reason: First, status: "acknowledged"}, ""},
		"FirstOver":             {standing{reason: First, status: "resolved"}, ""},
		"FirstSilenced":         {standing{reason: First, status: "suppressed", silenced: true}, Silenced},
		"EscalatedInhibited":    {standing{reason: Escalated, status: "suppressed"}, Inhibition},
		"Reminder":              {standing{reason: Reminder, status: "firing", told: true}, ""},
		"ReminderInHand":        {standing{reason: Reminder, status: "acknowledged", told: true}, Acknowledged},
		"ReminderOver":          {standing{reason: Reminder, status: "resolved", told: true}, AlreadyResolved},
		"ReminderSilenced":      {standing{reason: Reminder, status: "suppressed", silenced: true, told: true}, Silenced},
		"Resolved":              {standing{reason: Resolved, status: "resolved", told: true}, ""},
		"ResolvedNeverTold":     {standing{reason: Resolved, status: "resolved"}, NeverSent},
		"EscalatedAcknowledged": {standing{reason: Escalated, status: "acknowledged", told: true}, ""},
	} {
		require.Equal(t, c.want, withhold(c.standing), name)
	}
}

func TestHeadline(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 24, 22, 10, 0, 0, time.UTC)
	ended := began.Add(64*time.Minute + 10*time.Second)
	firing, over := Alert{FirstSeen: began}, Alert{FirstSeen: began, ResolvedAt: &ended}
	for want, m := range map[string]Message{
		"firing":    {Reason: First, Alert: firing, Notice: 1},
		"escalated": {Reason: Escalated, Alert: firing, Notice: 2},
		"still firing, third notice, since 2026-11-24 22:10:00 UTC": {Reason: Reminder, Alert: firing, Notice: 3},
		"resolved after 1h4m10s":                                    {Reason: Resolved, Alert: over},
		"firing, resolved since, after 1h4m10s":                     {Reason: First, Alert: over},
	} {
		require.Equal(t, want, headline(m))
	}
	for n, want := range map[int]string{1: "first", 9: "ninth", 10: "10th", 11: "11th", 12: "12th", 21: "21st", 22: "22nd", 43: "43rd", 111: "111th"} {
		require.Equal(t, want, ordinal(n))
	}
}

func TestSlack_Links(t *testing.T) {
	t.Parallel()
	const public = "https://box.example/dealbox/"
	m := Message{Reason: First, Alert: Alert{ID: 7, Rule: "breaker_opened"}, URL: link(public, 7), Runbook: runbook(public, "breaker_opened")}
	body, err := slackBody(m)
	require.NoError(t, err)
	var slack map[string]string
	require.NoError(t, json.Unmarshal(body, &slack))
	require.Contains(t, slack["text"], "<https://box.example/dealbox/#alert-7|open Dealbox> · "+
		"<https://box.example/dealbox/docs/operations.md#breaker_opened|what to do>")
	require.Empty(t, runbook("", "breaker_opened"), "without a public address there is no link")
}
