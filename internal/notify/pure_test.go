package notify

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/retry"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	longest := func() float64 { return 1 } // The upper end of the jitter.
	asked := func(d time.Duration) error { return &SendError{Text: "busy", RetryAfter: d} }
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
		require.Equal(t, want, m.Headline())
	}
	for n, want := range map[int]string{1: "first", 9: "ninth", 10: "10th", 11: "11th", 12: "12th", 21: "21st", 22: "22nd", 43: "43rd", 111: "111th"} {
		require.Equal(t, want, ordinal(n))
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	require.Equal(t, "https://box.example/dealbox/#alert-7", link("https://box.example/dealbox/", 7))
	require.Equal(t, "https://box.example/dealbox/docs/operations.md#breaker_opened", runbook("https://box.example/dealbox", "breaker_opened"))
	require.Empty(t, link("", 7), "without a public address there is no link")
	require.Empty(t, runbook("", "breaker_opened"), "without a public address there is no link")
}
