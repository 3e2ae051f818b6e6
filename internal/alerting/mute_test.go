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
	b := newEnv(t, alerting.Config{})
	cause := b.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	effect := b.raise(unusable(level.Error, "m"))
	unrelated := b.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Level: level.Error})

	require.Equal(t, "suppressed", b.status(effect))
	require.Equal(t, "firing", b.status(unrelated))
	require.Equal(t, "first/suppressed(inhibition)", b.outbox(effect))
	require.Equal(t, "alert 1 (breaker_opened) is its cause", b.text("SELECT reason FROM alert_event WHERE kind = 'suppressed'"))
	episode := b.episodes()[1]
	require.Equal(t, effect, episode.ID)
	require.Equal(t, cause, *episode.InhibitorID)

	b.later(3 * time.Hour)
	b.review()
	require.Equal(t, "suppressed", b.status(effect), "as long as the cause is open")

	b.resolve(alerting.RuleBreakerOpened, "strapi")
	b.review()
	require.Equal(t, "suppressed", b.status(effect), "most consequences end with their cause, only later")
	b.later(6 * time.Minute)
	b.review()
	require.Equal(t, "firing", b.status(effect))
	require.Equal(t, "first/suppressed(inhibition) first/pending", b.outbox(effect))
	require.Equal(t, "raised suppressed released", b.history(effect))

	fresh := unusable(level.Error, "m")
	fresh.Subject = "deals"
	require.Equal(t, "first/pending", b.outbox(b.raise(fresh)), "what begins after the cause is news")
}

// An episode that fires already when its cause begins is not reminded of.
func TestInhibition_OfReminders(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	effect := b.raise(unusable(level.Error, "m"))
	b.later(5 * time.Hour)
	b.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	b.review()
	require.Equal(t, "first/pending reminder/suppressed(inhibition)", b.outbox(effect))
	b.resolve(alerting.RuleBreakerOpened, "strapi")
	b.later(6 * time.Minute)
	b.review()
	require.Equal(t, "first/pending reminder/suppressed(inhibition) reminder/pending", b.outbox(effect))
}

// Nor is its escalation notified.
func TestInhibition_OfEscalations(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	effect := b.raise(unusable(level.Error, "m"))
	b.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	b.raise(unusable(level.Critical, "m"))
	require.Equal(t, "first/pending escalated/suppressed(inhibition)", b.outbox(effect))
	b.resolve(alerting.RuleBreakerOpened, "strapi")
	b.later(6 * time.Minute)
	b.review()
	require.Equal(t, "first/pending escalated/suppressed(inhibition) reminder/pending", b.outbox(effect))
}

// A silence outlives the cause: the episode stays muted, by the other of the two.
func TestInhibition_ThenSilence(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	b.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical})
	effect := b.raise(unusable(level.Error, "m"))
	b.silence(alerting.NewSilence{Rule: alerting.RuleStrapiUnusable, ExpiresAt: in(time.Hour)})
	both := unusable(level.Error, "m")
	both.Subject = "deals"
	require.Equal(t, "first/suppressed(silence)", b.outbox(b.raise(both)), "what a person wanted goes first")
	require.Equal(t, "true", b.text(`SELECT (inhibitor_id IS NULL AND silence_id = 1)::text FROM alert ORDER BY id DESC LIMIT 1`))

	b.resolve(alerting.RuleBreakerOpened, "strapi")
	b.later(6 * time.Minute)
	b.review()
	require.Equal(t, "suppressed", b.status(effect))
	require.Equal(t, "raised suppressed silenced", b.history(effect))
	b.later(time.Hour)
	b.review()
	require.Equal(t, "raised suppressed silenced released", b.history(effect))
}

// Refused webhooks are over when a full reconciliation ended well: that none does is notified.
func TestInhibition_ReconciliationFailsAfterRefusal(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	b.raise(alerting.Alert{Rule: alerting.RuleWebhooksRefused, Level: level.Error})
	require.Equal(t, "first/suppressed(inhibition)", b.outbox(b.raise(alerting.Alert{Rule: alerting.RuleLostWebhooks, Level: level.Error})))
	failing := alerting.Alert{Rule: alerting.RuleReconciliationFailing, Level: level.Error}
	id := b.raise(failing)
	b.raise(failing)
	require.Equal(t, "first/pending", b.outbox(id))
	b.later(5 * time.Hour)
	b.raise(failing)
	b.review()
	require.Equal(t, "first/pending reminder/pending", b.outbox(id))
	require.Equal(t, "first/pending", b.outbox(b.raise(alerting.Alert{Rule: alerting.RuleOldestPending, Level: level.Error})))
}
