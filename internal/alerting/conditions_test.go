package alerting_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/pgtest"
)

func TestHysteresis(t *testing.T) {
	t.Parallel()
	h := alerting.Hysteresis{RaiseAfter: 2, ClearAfter: 3}
	var s alerting.Streak
	var raised, resolved []int
	for i, bad := range []bool{true, false, true, true, true, false, false, true, false, false, false} {
		s = s.Next(bad)
		if h.Raises(s) {
			raised = append(raised, i)
		}
		if h.Resolves(s) {
			resolved = append(resolved, i)
		}
	}
	require.Equal(t, []int{3, 4}, raised)
	require.Equal(t, []int{10}, resolved)
}

func TestRule_OldestPending(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.MustExec(`INSERT INTO entity_sync (uid, document_id, locale, want_seq, done_seq, events, events_done, state, pending_since)
		VALUES ('api::x.x', 'd', '', 1, 0, 1, 0, 'pending', now() - interval '4 minutes')`)
	h.review()
	h.review()
	require.Empty(t, h.rule(alerting.RuleOldestPending))
	h.MustExec(`UPDATE entity_sync SET pending_since = now() - interval '6 minutes'`)
	h.review()
	require.Empty(t, h.rule(alerting.RuleOldestPending), "once is chance")
	h.review()
	require.Equal(t, "error firing", h.rule(alerting.RuleOldestPending))
	h.MustExec(`UPDATE entity_sync SET pending_since = now() - interval '61 minutes'`)
	h.review()
	require.Equal(t, "critical firing", h.rule(alerting.RuleOldestPending))
	h.MustExec(`UPDATE entity_sync SET done_seq = 1, events_done = 1, state = 'ok', pending_since = NULL`)
	h.review()
	require.Equal(t, "critical firing", h.rule(alerting.RuleOldestPending))
	h.review()
	require.Equal(t, "critical resolved", h.rule(alerting.RuleOldestPending))
	require.Equal(t, "0", h.MustText(`SELECT count(*)::text FROM alert_sample`))
}

func TestRule_NotificationFailing(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(unusable(level.Error, "m"))
	h.MustExec(`UPDATE notification SET status = 'failed', failed_at = now() - interval '1 minute', last_error = 'HTTP 400'`)
	h.review()
	h.review()
	require.Equal(t, "error firing", h.rule(alerting.RuleNotificationFailing))
	require.Equal(t, "webhook", h.MustText(`SELECT subject FROM alert WHERE rule = 'notification_failing'`))
	require.Contains(t, h.MustText(`SELECT message FROM alert WHERE rule = 'notification_failing'`), "HTTP 400")

	// The notification about the failing channel fails, too: that keeps nothing alive.
	h.MustExec(`UPDATE notification SET status = 'failed', failed_at = now(), last_error = 'HTTP 400' WHERE status = 'pending'`)
	other := unusable(level.Error, "m")
	other.Subject = "deals"
	h.raise(other)
	h.MustExec(`UPDATE notification SET status = 'sent', sent_at = now() - interval '30 s' WHERE status = 'pending'`)
	h.review()
	h.review()
	require.Equal(t, "error resolved", h.rule(alerting.RuleNotificationFailing))
	require.Equal(t, "1", h.MustText(`SELECT count(*)::text FROM alert WHERE rule = 'notification_failing'`))
}

// Time mends no channel: an episode ends when something was sent, when an operator
// says so, or when the channel is gone from the settings. What it was about does not
// open another.
func TestRule_NotificationFailing_Over(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(t *testing.T, h env) env
		reason string
	}{
		"Sent": {func(_ *testing.T, h env) env {
			h.MustExec(`UPDATE notification SET status = 'sent', sent_at = now() WHERE status = 'pending'`)
			return h
		}, "Alerts arrive through webhook again, after "},
		"ByHand": {func(t *testing.T, h env) env {
			id := pgtest.MustGet[int64](h.DB, `SELECT id FROM alert WHERE rule = 'notification_failing'`)
			h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
				_, err := h.ResolveByHand(ctx, tx, id, alerting.Operator{Name: "cli:ann", Comment: "a new URL"})
				return err
			})
			h.MustExec(`UPDATE notification SET failed_at = now() - interval '1 minute' WHERE status = 'failed'`)
			return h
		}, "a new URL"},
		"NotConfigured": {func(_ *testing.T, h env) env { return newCommand(h) }, "The channel webhook is no longer in Dealbox's settings, so nothing is sent through it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, alerting.Config{})
			h.raise(unusable(level.Error, "m"))
			h.MustExec(`UPDATE notification SET status = 'failed', failed_at = now() - interval '1 minute', last_error = 'HTTP 404'`)
			h.review()
			h.review()
			h.MustExec(`UPDATE notification SET failed_at = now() - interval '1 day' WHERE status = 'failed'`)
			h.review()
			h.review()
			require.Equal(t, "error firing", h.rule(alerting.RuleNotificationFailing))

			h = c.end(t, h)
			for range 4 {
				h.review()
			}
			require.Equal(t, "error resolved", h.rule(alerting.RuleNotificationFailing))
			require.Equal(t, "1", h.MustText(`SELECT count(*)::text FROM alert WHERE rule = 'notification_failing'`))
			require.Contains(t, h.MustText(`SELECT reason FROM alert_event WHERE kind = 'resolved'`), c.reason)
		})
	}
}

// A channel that does not answer is stuck long before anything failed for good.
func TestRule_NotificationStuck(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(unusable(level.Error, "m"))
	h.MustExec(`UPDATE notification SET attempts = 3, last_error = 'no answer'`)
	h.review()
	h.review()
	require.Equal(t, "error firing", h.rule(alerting.RuleNotificationFailing))
}

// Attempts that die leave no error behind.
func TestRule_NotificationStuck_Died(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(unusable(level.Error, "m"))
	h.MustExec(`UPDATE notification SET attempts = 3`)
	h.review()
	h.review()
	require.Contains(t, h.MustText(`SELECT message FROM alert WHERE rule = 'notification_failing'`), "each attempt died before one came")
}

// A step of the review that fails is reported, and the others run.
func TestReview_OneStepFails(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "a machine", Level: level.Warning})
	h.later(time.Hour)
	h.MustExec(`DROP TABLE alert_sample`)
	require.ErrorContains(t, alerting.NewReviewWorker(h.Pool, h.Alerts).Work(t.Context(), nil), "alert_sample")
	require.Equal(t, "warning resolved", h.rule(alerting.RuleClockSkew))
}

func TestRule_QuietEpisodeIsResolved(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "a machine that is gone", Level: level.Warning})
	h.raise(unusable(level.Error, "does not end by itself"))
	h.later(4 * time.Minute)
	h.review()
	require.Equal(t, "warning firing", h.rule(alerting.RuleClockSkew))
	h.later(2 * time.Minute)
	h.review()
	require.Equal(t, "warning resolved", h.rule(alerting.RuleClockSkew))
	require.Equal(t, "error firing", h.rule(alerting.RuleStrapiUnusable))
}

// A stranger who gave up is over soon; our own Strapi that says nothing is not.
func TestRule_QuietEndsForgeriesLongBeforeOwnFailures(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	for _, subject := range []string{"wrong_secret", "forged"} {
		h.raise(alerting.Alert{Rule: alerting.RuleSignatureFailures, Subject: subject, Level: level.Warning})
	}
	open := func() string {
		return h.MustText("SELECT coalesce(string_agg(subject, ' ' ORDER BY subject), '') FROM alert WHERE resolved_at IS NULL")
	}
	h.later(10 * time.Minute)
	h.review()
	require.Equal(t, "forged wrong_secret", open())
	h.later(2 * time.Minute)
	h.review()
	require.Equal(t, "wrong_secret", open())
	h.later(25 * time.Hour)
	h.review()
	require.Empty(t, open())
}

func TestEvaluateSignatures(t *testing.T) {
	t.Parallel()
	const mismatch, missing, malformed, late = "signature_mismatch", "signature_missing", "signature_malformed", "timestamp_out_of_tolerance"
	// "named" stands before the code of deliveries that name their event.
	window := func(accepted int64, triples ...any) alerting.SignatureWindow {
		w := alerting.SignatureWindow{Accepted: accepted, Refused: alerting.Refusals{}}
		for i := 0; i < len(triples); i += 3 {
			code, named := strings.CutPrefix(triples[i].(string), "named ")
			w.Refused[alerting.Refusal{Code: code, Scheme: triples[i+1].(string), Named: named}] = int64(triples[i+2].(int))
		}
		return w
	}
	const named = "named "
	one := window(0, mismatch, "standard", 1)
	unsigned := window(0, named+missing, "", 1)
	for name, c := range map[string]struct {
		windows []alerting.SignatureWindow
		want    string // subject and level after the last window
	}{
		"Nothing":           {[]alerting.SignatureWindow{{}}, ""},
		"AllWell":           {[]alerting.SignatureWindow{window(900)}, ""},
		"WrongSecret":       {[]alerting.SignatureWindow{window(0, mismatch, "standard", 3)}, "wrong_secret critical"},
		"WrongSecretNoise":  {[]alerting.SignatureWindow{window(0, mismatch, "standard", 40, missing, "", 2)}, "wrong_secret critical"},
		"TwoAreNoPattern":   {[]alerting.SignatureWindow{window(0, mismatch, "standard", 2)}, ""},
		"SomeAreAccepted":   {[]alerting.SignatureWindow{window(1, mismatch, "standard", 40)}, ""},
		"AttackOnTop":       {[]alerting.SignatureWindow{window(5, mismatch, "standard", 50)}, "forged warning"},
		"AttackWithout":     {[]alerting.SignatureWindow{window(0, missing, "", 5000)}, "forged warning"},
		"AttackManySchemes": {[]alerting.SignatureWindow{window(0, mismatch, "standard", 30, mismatch, "strapi", 30)}, "forged warning"},
		"AttackThatNames":   {[]alerting.SignatureWindow{window(5, named+missing, "", 5000)}, "forged warning"},
		"Clock":             {[]alerting.SignatureWindow{window(0, late, "standard", 9, mismatch, "standard", 1)}, "wrong_clock critical"},
		"Unsigned":          {[]alerting.SignatureWindow{window(0, named+missing, "", 3)}, "unsigned error"},
		"UnsignedStranger":  {[]alerting.SignatureWindow{window(0, missing, "", 49)}, ""},
		"Malformed":         {[]alerting.SignatureWindow{window(0, named+malformed, "strapi", 3)}, "malformed error"},
		"MalformedStranger": {[]alerting.SignatureWindow{window(0, malformed, "strapi", 49)}, ""},

		"QuietWrongSecret":  {[]alerting.SignatureWindow{one, {}, one, {}, one}, "wrong_secret critical"},
		"QuietTwo":          {[]alerting.SignatureWindow{one, {}, one}, ""},
		"QuietUnsigned":     {[]alerting.SignatureWindow{unsigned, unsigned, {}, unsigned}, "unsigned error"},
		"NothingNew":        {[]alerting.SignatureWindow{one, one, one, {}}, ""},
		"AcceptedBetween":   {[]alerting.SignatureWindow{one, one, window(1), one}, ""},
		"OtherKindNow":      {[]alerting.SignatureWindow{window(0, mismatch, "standard", 60), unsigned, unsigned, unsigned}, "unsigned error"},
		"StrangersBetween":  {[]alerting.SignatureWindow{one, window(0, missing, "", 5000), one, one}, "wrong_secret critical"},
		"AttackGoesOn":      {[]alerting.SignatureWindow{window(0, mismatch, "standard", 40, late, "standard", 20), window(0, mismatch, "standard", 40, late, "standard", 20)}, "forged warning"},
		"AttackThenTwoMore": {[]alerting.SignatureWindow{window(0, mismatch, "standard", 40, late, "standard", 20), window(0, mismatch, "standard", 2)}, ""},
	} {
		var alert *alerting.Alert
		var suspect alerting.Suspect
		for _, w := range c.windows {
			alert, suspect = alerting.EvaluateSignatures(suspect, w)
		}
		if c.want == "" {
			require.Nil(t, alert, name)
			continue
		}
		require.NotNil(t, alert, name)
		require.Equal(t, c.want, alert.Subject+" "+alert.Level.String(), name)
	}
}
