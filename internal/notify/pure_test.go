package notify

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/retry"
)

func TestNext(t *testing.T) {
	t.Parallel()
	longest := func() float64 { return 1 } // The upper end of the jitter.
	asked := func(d time.Duration) error { return &SendError{Text: "busy", RetryAfter: d} }
	for name, c := range map[string]struct {
		attempt attempt
		want    step
	}{
		"Sent":                  {attempt{number: 1}, step{status: "sent"}},
		"SentThoughOld":         {attempt{number: 9, age: 48 * time.Hour}, step{status: "sent"}},
		"Final":                 {attempt{number: 1, err: errors.New("no")}, step{status: "failed"}},
		"First":                 {attempt{number: 1, retry: true, err: errors.New("no")}, step{wait: 30 * time.Second}},
		"Third":                 {attempt{number: 3, retry: true, err: errors.New("no")}, step{wait: 2 * time.Minute}},
		"Capped":                {attempt{number: 60, retry: true, err: errors.New("no")}, step{wait: 10 * time.Minute}},
		"OneSecondBeforeTheEnd": {attempt{number: 60, retry: true, age: 24*time.Hour - time.Second, err: errors.New("no")}, step{wait: 10 * time.Minute}},
		"TooOld":                {attempt{number: 2, retry: true, age: 24 * time.Hour, err: errors.New("no")}, step{status: "failed"}},
		"ReceiverAsksLonger":    {attempt{number: 1, retry: true, err: asked(5 * time.Minute)}, step{wait: 5 * time.Minute}},
		"ReceiverAsksShorter":   {attempt{number: 2, retry: true, err: asked(time.Second)}, step{wait: time.Minute}},
		"ReceiverAsksTooMuch":   {attempt{number: 1, retry: true, err: asked(100 * time.Hour)}, step{wait: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, next(c.attempt, defaultBackoff, defaultGiveUpAfter, longest))
		})
	}
}

func TestNext_JitterSpreads(t *testing.T) {
	t.Parallel()
	half := func() float64 { return 0.5 }
	got := next(attempt{number: 1, retry: true, err: errors.New("no")}, retry.Policy{InitialDelay: time.Minute}, time.Hour, half)
	require.Equal(t, 30*time.Second, got.wait)
}

func TestSuppression(t *testing.T) {
	t.Parallel()
	enqueued := time.Date(2026, 11, 24, 22, 10, 0, 0, time.UTC)
	after := func(d time.Duration) *time.Time {
		at := enqueued.Add(d)
		return &at
	}
	type row = dbsqlc.NotificationGetRow
	for name, c := range map[string]struct {
		n    row
		want Suppression
	}{
		"First":                   {row{Reason: "first", AlertStatus: "firing"}, ""},
		"FirstAcknowledged":       {row{Reason: "first", AlertStatus: "acknowledged"}, Acknowledged},
		"FirstOverBeforeDue":      {row{Reason: "first", AlertStatus: "resolved", ResolvedAt: after(30 * time.Second)}, AlreadyResolved},
		"FirstOverSince":          {row{Reason: "first", AlertStatus: "resolved", ResolvedAt: after(31 * time.Second)}, ""},
		"FirstSilenced":           {row{Reason: "first", AlertStatus: "suppressed", Silenced: true}, Silenced},
		"EscalatedOverBeforeDue":  {row{Reason: "escalated", AlertStatus: "resolved", ResolvedAt: after(time.Second)}, AlreadyResolved},
		"EscalatedOverAfterFirst": {row{Reason: "escalated", AlertStatus: "resolved", ResolvedAt: after(time.Second), Notices: 1}, ""},
		"EscalatedInhibited":      {row{Reason: "escalated", AlertStatus: "suppressed", Notices: 1}, Inhibition},
		"EscalatedAcknowledged":   {row{Reason: "escalated", AlertStatus: "acknowledged", Notices: 1}, Acknowledged},
		"Reminder":                {row{Reason: "reminder", AlertStatus: "firing", Notices: 1}, ""},
		"ReminderAcknowledged":    {row{Reason: "reminder", AlertStatus: "acknowledged", Notices: 1}, Acknowledged},
		"ReminderOver":            {row{Reason: "reminder", AlertStatus: "resolved", Notices: 1}, AlreadyResolved},
		"ReminderSilenced":        {row{Reason: "reminder", AlertStatus: "suppressed", Silenced: true, Notices: 1}, Silenced},
		"Resolved":                {row{Reason: "resolved", AlertStatus: "resolved", Notices: 1}, ""},
		"ResolvedNeverSent":       {row{Reason: "resolved", AlertStatus: "resolved"}, NeverSent},
	} {
		c.n.CreatedAt = enqueued
		require.Equal(t, c.want, suppression(c.n, 30*time.Second), name)
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
		"resolved after 1 h 4 min":                                  {Reason: Resolved, Alert: over},
		"firing, resolved since, after 1 h 4 min":                   {Reason: First, Alert: over},
	} {
		require.Equal(t, want, m.Headline())
	}
	require.Equal(t, "still firing", Message{Reason: Reminder, Alert: firing, Notice: 3}.Title())
	require.Equal(t, "firing, resolved since", Message{Reason: First, Alert: over}.Title())
	require.Equal(t, "resolved", Message{Reason: Resolved, Alert: over}.Title())
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

func TestDocumentLink(t *testing.T) {
	t.Parallel()
	for details, want := range map[string]string{
		`{"link":"https://cms.example/admin/x"}`: "https://cms.example/admin/x",
		`{"link":"javascript:alert(1)"}`:         "",
		`{"link":7}`:                             "",
		`{}`:                                     "",
	} {
		require.Equal(t, want, documentLink([]byte(details)))
	}
}
