package alerting

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dealbox/internal/level"
)

// Names of the rules. The table below says what each one is.
const (
	RuleBodyQuarantined       = "body_quarantined"
	RuleBreakerOpened         = "breaker_opened"
	RuleClockSkew             = "clock_skew"
	RuleEventDeadLettered     = "event_dead_lettered"
	RuleForecastSwing         = "forecast_swing"
	RuleLostWebhooks          = "lost_webhooks"
	RuleMassDeleteGuard       = "mass_delete_guard"
	RuleNotificationFailing   = "notification_failing"
	RuleOldestPending         = "oldest_pending"
	RulePartitionsRunningOut  = "partitions_running_out"
	RuleReconciliationFailing = "reconciliation_failing"
	RuleSignatureFailures     = "signature_failures"
	RuleStrapiBlocked         = "strapi_blocked"
	RuleStrapiTokenRefused    = "strapi_token_refused"
	RuleStrapiUnusable        = "strapi_unusable"
	RuleWebhooksRefused       = "webhooks_refused"
)

// Rule describes a rule. A rule and a subject identify an episode, whatever its
// message says.
type Rule struct {
	Name string
	// Levels are those that it is raised with, lowest first.
	Levels []level.Level
	// Means is what happened.
	Means string
	// Subject is what a subject of it is; "" when the rule has none.
	Subject string
	// Group words an episode that has members, such as the dead documents of a
	// content type; nil when an episode has none.
	Group func(subject string, members int64, first Member) string
	// Inhibits are the rules whose episodes are recorded but not notified while an
	// episode of this rule is open, because it is their cause. None of them inhibits
	// another one, so no chain can mute a whole outage.
	Inhibits []string
	// Clears is the condition that resolves an episode.
	Clears string
	// Quiet resolves an episode whose rule does not fire any more, for rules that
	// nothing resolves explicitly: who raised it, another machine or process, may be gone.
	Quiet []Quiet
	// First is what to do first. docs/operations.md has more.
	First string
}

// Quiet is how long a rule must not fire for an episode of it to end.
type Quiet struct {
	// Subject is the one that it is about; "" is every subject.
	Subject string
	After   time.Duration
}

var rules = []Rule{
	{
		Name: RuleBodyQuarantined, Levels: []level.Level{level.Warning}, Subject: "why it cannot be read",
		Means:  "an authentic webhook could not be read and is quarantined",
		Clears: "by hand: the webhook stays unread, so only a person can decide that it does not matter",
		First:  "dealbox events list --status quarantined",
	},
	{
		Name: RuleBreakerOpened, Levels: []level.Level{level.Critical}, Subject: "the breaker",
		Means: "too many calls to Strapi failed in a row; for now Dealbox only probes it",
		// Strapi is away: what calls it fails, and what waits for it grows old.
		Inhibits: []string{RuleEventDeadLettered, RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "the breaker closes",
		First:    "check that Strapi runs and can be reached from here",
	},
	{
		Name: RuleClockSkew, Levels: []level.Level{level.Warning, level.Critical}, Subject: "the machine",
		Means:  "the clocks of this machine and of the database differ by over 2 s in two checks, 30 s apart; over 30 s (critical) workers do not start",
		Clears: "the clocks agree in two checks",
		Quiet:  []Quiet{{After: 5 * time.Minute}},
		First:  "set both clocks by NTP",
	},
	{
		Name: RuleEventDeadLettered, Levels: []level.Level{level.Error}, Subject: "the type's REST plural", Group: deadLetters,
		Means:  "documents failed JOB_MAX_ATTEMPTS times each and are not tried again by themselves",
		Clears: "each of its documents was synchronised, or is deleted in Strapi",
		First:  "dealbox alerts show ID for the documents and their errors; then dealbox events replay --dead",
	},
	{
		Name: RuleForecastSwing, Levels: []level.Level{level.Warning}, Subject: "the currency",
		Means:  "the forecast differs from that of an hour ago by more than FORECAST_SWING_PERCENT",
		Clears: "it is near that of an hour before again, after an hour at the latest if it stays as it is",
		Quiet:  []Quiet{{After: time.Hour}},
		First:  "see what changed: select * from mirror_change order by id desc limit 50",
	},
	{
		Name: RuleLostWebhooks, Levels: []level.Level{level.Warning},
		Means:  "Strapi changed documents and no webhook came; reconciliation has repaired the mirror",
		Clears: "a later full reconciliation finds no lost webhook",
		First:  "check the webhooks in Strapi, and its log",
	},
	{
		Name: RuleMassDeleteGuard, Levels: []level.Level{level.Critical}, Subject: "the type's REST plural",
		Means:  "more documents vanished from Strapi than is plausible; Dealbox does not delete them",
		Clears: "a full reconciliation finds few missing again, or an operator allows the deletions",
		First:  "check in Strapi whether they are really deleted; if so: dealbox sync --allow-deletes",
	},
	{
		Name: RuleNotificationFailing, Levels: []level.Level{level.Error}, Subject: "the channel",
		Means:  "a channel failed for good or is stuck, and has sent nothing since, in two reviews a minute apart",
		Clears: "two reviews at which something was sent since, or the channel left the settings",
		First:  "dealbox doctor, then dealbox alerts test",
	},
	{
		Name: RuleOldestPending, Levels: []level.Level{level.Error, level.Critical},
		Means:  "an event waits for over 5 minutes in two reviews a minute apart; over an hour is critical",
		Clears: "two reviews at which nothing waited that long",
		First:  "see whether Strapi answers and workers run: dealbox doctor",
	},
	{
		Name: RulePartitionsRunningOut, Levels: []level.Level{level.Critical},
		Means:  "the day partitions of inbox_event end soon; without one no webhook can be stored",
		Clears: "there are enough again",
		First:  "run a worker; its log says why it makes none",
	},
	{
		Name: RuleReconciliationFailing, Levels: []level.Level{level.Error},
		Means:  "the mirror could not be compared with Strapi",
		Clears: "the next run that ends well",
		First:  "read the error in the alert; it is mostly Strapi's answer",
	},
	{
		Name: RuleSignatureFailures, Levels: []level.Level{level.Warning, level.Error, level.Critical},
		Subject: "wrong_secret or wrong_clock (critical), unsigned or malformed (error), forged (warning)",
		Means:   "webhooks were refused as not authentic: 3 of our own Strapi with none accepted between, or 50 others in 5 minutes",
		Clears:  "a webhook is accepted (forged: only when it is quiet)",
		// Our own Strapi may have nothing to say for a night; a stranger who gave up is
		// over after two windows and a little.
		Quiet: []Quiet{{Subject: subjectForged, After: 11 * time.Minute}, {After: 25 * time.Hour}},
		First: "compare the secret in Strapi with STRAPI_WEBHOOK_SECRET",
	},
	{
		Name: RuleStrapiBlocked, Levels: []level.Level{level.Critical},
		Means:    "something in front of Strapi (a firewall, a CDN, a proxy that wants a login) refuses Dealbox: nothing is lost, and nothing moves",
		Inhibits: []string{RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "Strapi itself answers again",
		First:    "let Dealbox's requests pass there; the alert's details name who answered",
	},
	{
		Name: RuleStrapiTokenRefused, Levels: []level.Level{level.Critical},
		Means:    "Strapi itself answered 401 or 403: nothing is lost, and nothing moves",
		Inhibits: []string{RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "Strapi accepts the token",
		First:    "make a new API token in Strapi and set STRAPI_API_TOKEN",
	},
	{
		Name: RuleStrapiUnusable, Levels: []level.Level{level.Error}, Subject: "the type's REST plural",
		Means:  "Strapi answers, but not with a content type as Dealbox needs it: no such route, no such relation, its list or all of its documents fail. Its documents wait",
		Clears: "Strapi serves the type",
		First:  "dealbox doctor",
	},
	{
		Name: RuleWebhooksRefused, Levels: []level.Level{level.Error},
		Means: "webhooks were answered 503 because Postgres could not commit them; Strapi does not send them again, so Dealbox requests a full reconciliation",
		// What was refused is found missing. Only a full reconciliation ends it, so it
		// must not hide that reconciliation fails, nor that nothing moves: neither can
		// be written while Postgres is away.
		Inhibits: []string{RuleLostWebhooks},
		Clears:   "a full reconciliation that began after the last refusal ends well",
		First:    "check Postgres: disk, connections, failover",
	},
}

// Rules returns all rules, in the order of their names.
func Rules() []Rule { return slices.Clone(rules) }

// ruleOf returns the rule of a name; the zero value when there is none.
func ruleOf(name string) Rule {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}
	}
	return rules[i]
}

// inhibitorsOf returns the rules that inhibit the given one.
func inhibitorsOf(name string) []string {
	var all []string
	for _, r := range rules {
		if slices.Contains(r.Inhibits, name) {
			all = append(all, r.Name)
		}
	}
	return all
}

// deadLetters words RuleEventDeadLettered.
func deadLetters(plural string, n int64, first Member) string {
	example := ": "
	if n > 1 {
		example = "; the first is "
	}
	if first.Name != "" {
		example += first.Name + ", "
	}
	return fmt.Sprintf("%s of %s could not be synchronised and Dealbox has stopped trying%s%s (%s). "+
		"Strapi has their latest state; the mirror and the forecast keep the one before. "+
		"Correct the documents in Strapi, or remove the cause and run: dealbox events replay --dead",
		documents(n), plural, example, first.Key, strings.TrimRight(first.Reason, "."))
}

// documents words a number of documents, such as "5,000 documents".
func documents(n int64) string {
	if n == 1 {
		return "1 document"
	}
	return thousands(n) + " documents"
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
