package alerting

// Rules that Dealbox has. A rule and a subject make a fingerprint: an episode is
// one rule for one subject, whatever the message says. Each rule names the level
// that it is raised with, its subject, and what resolves it.
const (
	// RuleEventDeadLettered (error): a document failed JOB_MAX_ATTEMPTS times and
	// is not tried again by itself. Subject: the document. Resolved when a later
	// sync of the document succeeds.
	RuleEventDeadLettered = "event_dead_lettered"

	// RuleBodyQuarantined (warning): an authentic delivery could not be read and
	// was set aside. Subject: the reason. It resolves by hand: the delivery stays
	// unread, so only a person can say that it does not matter any more.
	RuleBodyQuarantined = "body_quarantined"

	// RuleBreakerOpened (critical): too many calls to Strapi failed in a row and
	// none is made for now. Subject: the breaker. Resolved when it closes.
	RuleBreakerOpened = "breaker_opened"

	// RuleStrapiTokenRefused (critical): Strapi answered 401 or 403. Nothing is
	// lost, nothing moves. No subject. Resolved when Strapi accepts the token.
	RuleStrapiTokenRefused = "strapi_token_refused"

	// RuleStrapiUnusable (error): Strapi answers, but not with a content type as
	// Dealbox needs it: no such route, not JSON, no such relation. Its documents
	// wait. Subject: the type's REST plural. Resolved when Strapi serves it.
	RuleStrapiUnusable = "strapi_unusable"

	// RulePartitionsRunningOut (critical): the day partitions of inbox_event end
	// soon; a missing one makes every delivery fail. No subject. Resolved when
	// there are enough again.
	RulePartitionsRunningOut = "partitions_running_out"

	// RuleClockSkew (warning; critical over 30 s, when workers do not start): the
	// clocks of this machine and of the database differ by more than 2 s, twice in a
	// row of looks 30 s apart. Subject: the machine. Resolved when they agree twice in a row, or the machine is gone for 5 minutes.
	RuleClockSkew = "clock_skew"

	// RuleMassDeleteGuard (critical): more documents vanished from Strapi than is
	// plausible, so they are not deleted here. Subject: the type's REST plural.
	// Resolved when a full reconciliation finds few again, or when an operator
	// allows the deletions.
	RuleMassDeleteGuard = "mass_delete_guard"

	// RuleLostWebhooks (warning): Strapi changed documents and no webhook came.
	// They are healed by then. No subject. Resolved by a later full
	// reconciliation that finds none.
	RuleLostWebhooks = "lost_webhooks"

	// RuleReconciliationFailing (error): the mirror could not be compared with
	// Strapi. No subject. Resolved by the next run that ends well.
	RuleReconciliationFailing = "reconciliation_failing"

	// RuleOldestPending (error; critical over 1 h): an event waits for over 5 minutes,
	// twice in a row of looks a minute apart. No subject. Resolved after two looks at which nothing
	// waited that long.
	RuleOldestPending = "oldest_pending"

	// RuleWebhooksRefused (error): deliveries were answered 503 because Postgres
	// could not commit them. Strapi does not send them again; a full reconciliation
	// is asked for. No subject. Resolved when a full reconciliation ended well.
	RuleWebhooksRefused = "webhooks_refused"

	// RuleNotificationFailing (error): a channel failed for good or is stuck, and
	// has sent nothing since, twice in a row of looks a minute apart. Subject: the
	// channel. It is told through all channels; what tells of it does not count.
	// Resolved after two looks at which something was sent since, or when the channel
	// left the settings.
	RuleNotificationFailing = "notification_failing"

	// RuleSignatureFailures: deliveries were refused as not authentic. Subject:
	// wrong_secret or wrong_clock (critical), unsigned or malformed (error): at least
	// 3 of our own Strapi, and none accepted between; forged (warning): at least 50
	// in 5 minutes. Resolved when a delivery is accepted, or there was none such for
	// 25 hours; forged when there was none such for 11 minutes.
	RuleSignatureFailures = "signature_failures"

	// RuleForecastSwing (warning): the forecast differs from that of an hour ago
	// by more than FORECAST_SWING_PERCENT. Subject: the currency. Resolved when it
	// does not any more: an hour later at the latest, if it stays as it is.
	RuleForecastSwing = "forecast_swing"
)

// Rules lists the names of all of them.
func Rules() []string {
	return []string{
		RuleBodyQuarantined, RuleBreakerOpened, RuleClockSkew, RuleEventDeadLettered, RuleForecastSwing, RuleLostWebhooks,
		RuleMassDeleteGuard, RuleNotificationFailing, RuleOldestPending, RulePartitionsRunningOut, RuleReconciliationFailing,
		RuleSignatureFailures, RuleStrapiTokenRefused, RuleStrapiUnusable, RuleWebhooksRefused,
	}
}
