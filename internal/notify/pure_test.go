package notify

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

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
