package alerting_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

func TestInhibition(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	cause := h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	effect := h.raise(unusable(level.Error, "m"))
	unrelated := h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Level: level.Error})

	require.Equal(t, "suppressed", h.status(effect))
	require.Equal(t, "firing", h.status(unrelated))
	require.Equal(t, "first/suppressed(inhibition)", h.outbox(effect))
	require.Equal(t, "alert 1 (breaker_opened) is its cause", h.MustText("SELECT reason FROM alert_event WHERE kind = 'suppressed'"))
	episode := h.episodes()[1]
	require.Equal(t, effect, episode.ID)
	require.Equal(t, cause, *episode.InhibitorID)

	h.later(3 * time.Hour)
	h.review()
	require.Equal(t, "suppressed", h.status(effect), "as long as the cause is open")

	h.resolve(alerting.RuleBreakerOpened, "strapi")
	h.review()
	require.Equal(t, "suppressed", h.status(effect), "most consequences end with their cause, only later")
	h.later(6 * time.Minute)
	h.review()
	require.Equal(t, "firing", h.status(effect))
	require.Equal(t, "first/suppressed(inhibition) first/pending", h.outbox(effect))
	require.Equal(t, "raised suppressed released", h.history(effect))

	fresh := unusable(level.Error, "m")
	fresh.Subject = "deals"
	require.Equal(t, "first/pending", h.outbox(h.raise(fresh)), "what begins after the cause is news")
}

// An episode that fires already when its cause begins is not reminded of.
func TestInhibition_OfReminders(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	effect := h.raise(unusable(level.Error, "m"))
	h.sent()
	h.later(5 * time.Hour)
	h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	require.Equal(t, "first/sent", h.outbox(effect))
	h.review()
	require.Equal(t, "first/sent reminder/suppressed(inhibition)", h.outbox(effect))
	h.resolve(alerting.RuleBreakerOpened, "strapi")
	h.later(6 * time.Minute)
	h.review()
	require.Equal(t, "first/sent reminder/suppressed(inhibition) reminder/pending", h.outbox(effect))
}

// An effect can be noticed a moment before its cause: Strapi is down when Dealbox starts,
// so the first comparison fails before the breaker opens. People get one notice.
func TestInhibition_OfEffectsBeforeTheirCause(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	failing := alerting.Alert{Rule: alerting.RuleReconciliationFailing, Subject: "billings", Level: level.Error}
	effect := h.raise(failing)
	other := h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Level: level.Critical})
	require.Equal(t, "first/pending", h.outbox(effect))
	cause := h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	require.Equal(t, "suppressed", h.status(effect), "its first notice is not sent when it is due")
	require.Equal(t, "raised suppressed", h.history(effect))
	require.Equal(t, "first/pending", h.outbox(cause))
	require.Equal(t, "firing", h.status(other))
	require.Equal(t, "alert 3 (breaker_opened) is its cause", h.MustText("SELECT reason FROM alert_event WHERE kind = 'suppressed'"))

	h.resolve(alerting.RuleBreakerOpened, "strapi")
	h.later(6 * time.Minute)
	h.review()
	require.Equal(t, "firing", h.status(effect), "what outlives its cause is notified")
}

// Nor is its escalation notified.
func TestInhibition_OfEscalations(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	effect := h.raise(unusable(level.Error, "m"))
	h.sent()
	h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	h.raise(unusable(level.Critical, "m"))
	require.Equal(t, "first/sent escalated/suppressed(inhibition)", h.outbox(effect))
	h.resolve(alerting.RuleBreakerOpened, "strapi")
	h.later(6 * time.Minute)
	h.review()
	require.Equal(t, "first/sent escalated/suppressed(inhibition) reminder/pending", h.outbox(effect))
}

// A silence outlives the cause: the episode stays muted, by the other of the two.
func TestInhibition_ThenSilence(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	effect := h.raise(unusable(level.Error, "m"))
	h.silence(alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, ExpiresAt: in(time.Hour)})
	both := unusable(level.Error, "m")
	both.Subject = "deals"
	require.Equal(t, "first/suppressed(silence)", h.outbox(h.raise(both)), "what a person wanted goes first")
	require.Equal(t, "true", h.MustText(`SELECT (inhibitor_id IS NULL AND silence_id = 1)::text FROM alert ORDER BY id DESC LIMIT 1`))

	h.resolve(alerting.RuleBreakerOpened, "strapi")
	h.later(6 * time.Minute)
	h.review()
	require.Equal(t, "suppressed", h.status(effect))
	require.Equal(t, "raised suppressed silenced", h.history(effect))
	h.later(time.Hour)
	h.review()
	require.Equal(t, "raised suppressed silenced released", h.history(effect))
}

// Refused webhooks are over when a full reconciliation ended well: that none does is notified.
func TestInhibition_ReconciliationFailsAfterRefusal(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(alerting.Alert{Rule: alerting.RuleWebhooksRefused, Level: level.Error})
	require.Equal(t, "first/suppressed(inhibition)", h.outbox(h.raise(alerting.Alert{Rule: alerting.RuleLostWebhooks, Level: level.Error})))
	failing := alerting.Alert{Rule: alerting.RuleReconciliationFailing, Level: level.Error}
	id := h.raise(failing)
	h.raise(failing)
	require.Equal(t, "first/pending", h.outbox(id))
	h.later(5 * time.Hour)
	h.raise(failing)
	h.review()
	require.Equal(t, "first/pending reminder/pending", h.outbox(id))
	require.Equal(t, "first/pending", h.outbox(h.raise(alerting.Alert{Rule: alerting.RuleOldestPending, Level: level.Error})))
}

// What Dealbox itself refused is not called Strapi's fault.
func TestWordLostWebhooks(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	words := func() string {
		message, err := h.WordLostWebhooks(t.Context(), h.Pool, 3)
		require.NoError(t, err)
		return message
	}
	h.raise(alerting.Alert{Rule: alerting.RuleSignatureFailures, Subject: "forged", Level: level.Warning})
	require.Equal(t, alerting.LostWebhooks(3), words(), "a stranger's are no webhooks of Strapi")

	h.raise(alerting.Alert{Rule: alerting.RuleSignatureFailures, Subject: "wrong_secret", Level: level.Critical})
	require.Contains(t, words(), "they were not authentic")
	require.NotContains(t, words(), "on Strapi's side")
	h.raise(alerting.Alert{Rule: alerting.RuleWebhooksRefused, Level: level.Error})
	require.Contains(t, words(), "3 documents changed in Strapi and Dealbox has stored no webhook for them")
	require.Contains(t, words(), "Postgres could not commit them")

	h.MustExec("UPDATE alert SET resolved_at = clock_timestamp(), status = 'resolved'")
	fullRun := func() {
		h.MustExec(`INSERT INTO reconciliation_run (kind, trigger, status, started_at, finished_at)
			VALUES ('full', 'schedule', 'done', clock_timestamp(), clock_timestamp())`)
	}
	fullRun()
	require.Contains(t, words(), "Postgres could not commit them", "the run after it found what is missing")
	fullRun()
	require.Equal(t, alerting.LostWebhooks(3), words())
}
