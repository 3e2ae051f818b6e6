package alerting

import (
	"slices"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// Names of the rules. The table below says what each one is.
const (
	RuleAttributeMissing      = "attribute_missing"
	RuleAttributeUnknown      = "attribute_unknown"
	RuleBodyQuarantined       = "body_quarantined"
	RuleBreakerOpened         = "breaker_opened"
	RuleClockSkew             = "clock_skew"
	RuleEventDeadLettered     = "event_dead_lettered"
	RuleForecastSwing         = "forecast_swing"
	RuleLostWebhooks          = "lost_webhooks"
	RuleMassChange            = "mass_change"
	RuleMassDeleteGuard       = "mass_delete_guard"
	RuleMassNullGuard         = "mass_null_guard"
	RuleNotificationFailing   = "notification_failing"
	RuleOldestPending         = "oldest_pending"
	RulePartitionsRunningOut  = "partitions_running_out"
	RulePublishedTwice        = "published_twice"
	RuleReconciliationFailing = "reconciliation_failing"
	RuleSignatureFailures     = "signature_failures"
	RuleStartRefused          = "start_refused"
	RuleStrapiBlocked         = "strapi_blocked"
	RuleStrapiTokenRefused    = "strapi_token_refused"
	RuleStrapiUnusable        = "strapi_unusable"
	RuleUnreadableRows        = "unreadable_rows"
	RuleValueUnreadable       = "value_unreadable"
	RuleWebhooksRefused       = "webhooks_refused"
)

// Rule describes a rule. A rule and a subject identify an episode, whatever its
// message says.
type Rule struct {
	Name string
	// Levels are those that it is raised with, lowest first.
	Levels []level.Level
	// Side is on whose side the cause mostly is.
	Side string
	// Means is what happened.
	Means string
	// Example is its text for example values, and End that of its end, as they are
	// before what stands in braces is filled.
	Example, End string
	// Subject is what a subject of it is; "" when the rule has none.
	Subject string
	// Group words an episode that has members, such as the dead documents of a
	// content type; nil when an episode has none.
	Group func(subject string, members int64, first Member) string
	// GroupEnd words its end: what became of how many members, the last of them, such as
	// "1 synchronised"; nil like Group.
	GroupEnd func(subject string, members int64, last Member, outcomes string) string
	// Inhibits are the rules whose episodes are recorded but not notified while an
	// episode of this rule is open, because it is their cause. None of them inhibits
	// another one, so no chain can mute a whole outage.
	Inhibits []string
	// Explains are more rules whose episodes one of this rule mostly causes. They are
	// notified all the same; where health lists both, the cause comes first.
	Explains []string
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
		Name: RuleAttributeMissing, Levels: []level.Level{level.Critical}, Subject: "the type's REST plural",
		Means:   "Strapi does not show an attribute or relation that the type had: renamed, removed or private there. Its documents wait and keep their last values",
		Side:    "a change in Strapi",
		Example: AttributeMissing("deal_value", "pipeline-deals", "api::pipeline-deal.pipeline-deal", "deal.deal_value", "STRAPI_DEAL_FIELDS", "deal_value"),
		End:     EndAttributeMissing("pipeline-deals"),
		// The documents of the type wait, and it cannot be compared.
		Inhibits: []string{RuleOldestPending, RuleReconciliationFailing},
		Clears:   "Strapi shows it again, or the FIELDS setting maps another attribute, or none",
		First:    "take the change back in Strapi, or map the new attribute in STRAPI_DEAL_FIELDS or STRAPI_BILLING_FIELDS",
	},
	{
		Name: RuleAttributeUnknown, Levels: []level.Level{level.Warning}, Subject: "the type's REST plural",
		Means:   "a FIELDS setting names an attribute that Strapi has never shown, so its column is null; or Strapi hides updatedAt",
		Side:    "a slip in Dealbox's settings, mostly",
		Example: AttributeUnknown("STRAPI_DEAL_FIELDS", "owner", "sales_rep", "pipeline-deals"),
		End:     EndAttributeUnknown("pipeline-deals"),
		Clears:  "Strapi shows it, or the setting does not name it any more",
		First:   "dealbox doctor",
	},
	{
		Name: RuleBodyQuarantined, Levels: []level.Level{level.Warning}, Subject: "why it cannot be read",
		Side:    "whoever sent the webhook",
		Means:   "an authentic webhook could not be read and is quarantined",
		Example: BodyQuarantined("the entry is null"),
		End:     endByHand(dbsqlc.Alert{Message: "…"}, cause{actor: "cli:ann", reason: "a test of ours"}),
		Clears:  "by hand: the webhook stays unread, so only a person can decide that it does not matter; where it only names no document (" + SubjectUnnamed + "), a full comparison of its type, which is requested at once",
		First:   "dealbox events list --status quarantined",
	},
	{
		Name: RuleBreakerOpened, Levels: []level.Level{level.Critical}, Subject: "the breaker",
		Side:    "Strapi, or the network to it",
		Means:   "too many calls to Strapi failed in a row; for now Dealbox only probes it",
		Example: BreakerOpened("Strapi answers with its error 500 (Internal Server Error)"),
		End:     EndBreakerOpened,
		// Strapi is away: what calls it fails, and what waits for it grows old.
		Inhibits: []string{RuleEventDeadLettered, RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "the breaker closes",
		First:    "check that Strapi runs and can be reached from here",
	},
	{
		Name: RuleClockSkew, Levels: []level.Level{level.Warning, level.Critical}, Subject: "the machine",
		Side:    "a machine without NTP",
		Means:   "the clocks of this machine and of the database differ by over 2 s in two checks, 30 s apart; over 30 s (critical) workers do not start",
		Example: ClockSkew("web-1", "3 s ahead", false),
		End:     EndClockSkew("web-1"),
		// Workers may not run because of it.
		Explains: []string{RuleOldestPending},
		Clears:   "the clocks agree in two checks",
		Quiet:    []Quiet{{After: 5 * time.Minute}},
		First:    "set both clocks by NTP",
	},
	{
		Name: RuleEventDeadLettered, Levels: []level.Level{level.Error}, Subject: "the type's REST plural", Group: deadLetters, GroupEnd: endOfDeadLetters,
		Side:    "Strapi, for these documents alone",
		Means:   "documents failed JOB_MAX_ATTEMPTS times each and are not tried again by themselves",
		Example: deadLetters("pipeline-deals", 1, exampleMember),
		End:     endOfDeadLetters("pipeline-deals", 2, exampleMember, "1 synchronised, 1 deleted in Strapi"),
		Clears:  "each of its documents was synchronised, or is deleted in Strapi",
		First:   "dealbox alerts show ID for the documents and their errors; then dealbox events replay --dead",
	},
	{
		Name: RuleForecastSwing, Levels: []level.Level{level.Warning}, Subject: "the currency",
		Side:    "nobody mostly",
		Means:   "the forecast differs from that of an hour ago by more than FORECAST_SWING_PERCENT",
		Example: ForecastSwing("THB", "812518.00", "420000.00", "93.5"),
		End:     EndForecastSwing,
		Clears:  "it is near that of an hour before again, after an hour at the latest if it stays as it is",
		Quiet:   []Quiet{{After: time.Hour}},
		First:   "see what changed: select * from mirror_change order by id desc limit 50",
	},
	{
		Name: RuleLostWebhooks, Levels: []level.Level{level.Warning},
		Side:    "Strapi, or a proxy between",
		Means:   "Strapi changed documents and no webhook came; reconciliation has repaired the mirror",
		Example: LostWebhooks(3),
		End:     EndLostWebhooks,
		Clears:  "a later full reconciliation finds no lost webhook",
		First:   "check the webhooks in Strapi, and its log",
	},
	{
		Name: RuleMassChange, Levels: []level.Level{level.Warning}, Subject: "the type's REST plural",
		Side: "Strapi, or whoever restored or changed it", Example: MassChangeRestored("billings", 40), End: EndMassChange("billings"),
		Means:  "a reconciliation found that many documents changed in a way that no webhook announces: a restored backup, a changed schema or FIELDS setting. The mirror follows",
		Clears: "a later full reconciliation finds no such change",
		First:  "ask who changed Strapi; the alert says what such a change looks like",
	},
	{
		Name: RuleMassDeleteGuard, Levels: []level.Level{level.Critical}, Subject: "the type's REST plural",
		Side:    "Strapi, unless somebody cleaned up",
		Means:   "more documents vanished from Strapi than is plausible; Dealbox does not delete them",
		Example: MassDeleteGuard("billings"),
		End:     EndMassDeleteGuard("billings", "a full reconciliation found 2 of them missing, which is plausible"),
		Clears:  "a full reconciliation finds few missing again, or an operator allows the deletions",
		First:   "check in Strapi whether they are really deleted; if so: dealbox sync --allow-deletes --type TYPE, with the type that the alert names",
	},
	{
		Name: RuleMassNullGuard, Levels: []level.Level{level.Critical}, Subject: "the type's REST plural",
		Side: "Strapi mostly, or Dealbox's settings", Example: MassNullGuard("billings", []Emptied{{"amount", 88}}, 88, 0, "k2x9"),
		End:    EndMassNullGuard("billings", "a full reconciliation found the values again"),
		Means:  "an essential value is null, empty, 0 or unreadable in more documents at once than is plausible; Dealbox keeps the values that it has",
		Clears: "a full reconciliation finds the values again, or an operator allows them to be empty",
		First:  "compare one of the documents in Strapi; if the values are right: dealbox sync --allow-deletes --type TYPE, with the type that the alert names",
	},
	{
		Name: RuleNotificationFailing, Levels: []level.Level{level.Error}, Subject: "the channel",
		Side:    "the receiver, or Dealbox's settings",
		Means:   "a channel failed for good or is stuck, and has sent nothing since, in two reviews a minute apart",
		Example: NotificationFailing("webhook", 3, 1, "https://hooks.example.com answered 410 Gone"),
		End:     endNotificationFailing("webhook"),
		Clears:  "two reviews at which something was sent since, or the channel left the settings",
		First:   "dealbox doctor, then dealbox alerts test",
	},
	{
		Name: RuleOldestPending, Levels: []level.Level{level.Error, level.Critical},
		Side:    "Strapi if it answers slowly, Dealbox if no worker runs",
		Means:   "an event waits for over 5 minutes in two reviews a minute apart; over an hour is critical",
		Example: OldestPending(8 * time.Minute),
		End:     EndOldestPending,
		Clears:  "two reviews at which nothing waited that long",
		First:   "see whether Strapi answers and workers run: dealbox doctor",
	},
	{
		Name: RulePartitionsRunningOut, Levels: []level.Level{level.Critical},
		Side:    "Dealbox",
		Means:   "the day partitions of inbox_event end soon; without one no webhook can be stored",
		Example: PartitionsRunningOut(5),
		End:     EndPartitionsRunningOut,
		Clears:  "there are enough again",
		First:   "run a worker; its log says why it makes none",
	},
	{
		Name: RulePublishedTwice, Levels: []level.Level{level.Warning}, Subject: "the type's REST plural",
		Side: "Strapi", Example: PublishedTwice("billings", 1, []string{"api::billing.billing/k2x9"}), End: EndPublishedTwice("billings"),
		Means:  "Strapi has two published rows of one document",
		Clears: "a full reconciliation finds one of each",
		First:  "publish the document again in Strapi",
	},
	{
		Name: RuleReconciliationFailing, Levels: []level.Level{level.Error}, Subject: "the type's REST plural",
		Side: "Strapi mostly", Example: ReconciliationFailing("billings", "full", 12, "Strapi gives no complete answer within 10s"), End: EndReconciliationFailing("billings"),
		Means:  "a content type could not be compared with Strapi",
		Clears: "the next run that compares it",
		First:  "read the error in the alert; it is mostly Strapi's answer",
	},
	{
		Name: RuleSignatureFailures, Levels: []level.Level{level.Warning, level.Error, level.Critical},
		Subject: "wrong_secret or wrong_clock (critical), unsigned or malformed (error), forged (warning)",
		Side:    "Strapi's settings or Dealbox's",
		Means:   "webhooks were refused as not authentic: 3 of our own Strapi with none accepted between, or 50 others in 5 minutes",
		Example: exampleSuspect.alert().Message,
		End:     EndSignatureFailures,
		// What was refused is found missing. A stranger's attempts must mute nothing.
		Explains: []string{RuleLostWebhooks},
		Clears:   "a webhook is accepted (forged: only when it is quiet)",
		// Our own Strapi may have nothing to say for a night; a stranger who gave up is
		// over after two windows and a little.
		Quiet: []Quiet{{Subject: subjectForged, After: 11 * time.Minute}, {After: 25 * time.Hour}},
		First: "compare the secret in Strapi with STRAPI_WEBHOOK_SECRET",
	},
	{
		Name: RuleStartRefused, Levels: []level.Level{level.Critical},
		Side:    "Dealbox's deployment",
		Example: StartRefused("web-1", "the schema of the database is behind this program: run 'dealbox migrate up'"),
		End:     EndStartRefused,
		Means:   "a process of Dealbox refuses to start, mostly because the schema is behind it",
		Clears:  "a process starts",
		Quiet:   []Quiet{{After: 30 * time.Minute}},
		First:   "dealbox migrate up, with the program of the new version",
	},
	{
		Name: RuleStrapiBlocked, Levels: []level.Level{level.Critical},
		Side:     "what stands in front of Strapi: a firewall, a CDN, a proxy",
		Example:  StrapiBlocked("it answers 403, Forbidden not in Strapi's form (server cloudflare)"),
		End:      EndStrapiBlocked,
		Means:    "something in front of Strapi (a firewall, a CDN, a proxy that wants a login) refuses Dealbox: nothing is lost, and nothing moves",
		Inhibits: []string{RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "Strapi itself answers again",
		First:    "let Dealbox's requests pass there; the alert's details name who answered",
	},
	{
		Name: RuleStrapiTokenRefused, Levels: []level.Level{level.Critical},
		Side:     "Strapi's settings",
		Means:    "Strapi itself answered 401 or 403: nothing is lost, and nothing moves",
		Example:  StrapiTokenRefused("pipeline-deals", "Strapi refuses the API token (401: Missing or invalid credentials)"),
		End:      EndStrapiTokenRefused,
		Inhibits: []string{RuleOldestPending, RuleReconciliationFailing, RuleStrapiUnusable},
		Clears:   "Strapi accepts the token",
		First:    "make a new API token in Strapi and set STRAPI_API_TOKEN",
	},
	{
		Name: RuleStrapiUnusable, Levels: []level.Level{level.Error}, Subject: "the type's REST plural",
		Side:    "Strapi's content type, a proxy, or Dealbox's settings",
		Means:   "Strapi answers, but not with a content type as Dealbox needs it: no such route, no such relation, its list or all of its documents fail. Its documents wait",
		Example: StrapiUnusable("billings", "Strapi has no such route (404: Not Found)"),
		End:     EndStrapiUnusable("billings"),
		// The documents of the type wait, and it cannot be compared.
		Explains: []string{RuleOldestPending, RuleReconciliationFailing},
		Clears:   "Strapi serves the type",
		First:    "dealbox doctor",
	},
	{
		Name: RuleUnreadableRows, Levels: []level.Level{level.Warning}, Subject: "the type's REST plural",
		Side: "Strapi", Example: UnreadableRows("billings", 1, []string{"12"}, "documentId is missing"), End: EndUnreadableRows("billings"),
		Means:  "Strapi lists rows that are no documents, such as one without a documentId. They are skipped, and no deletion of the type is concluded",
		Clears: "a full reconciliation can use every row",
		First:  "correct the rows in Strapi; the alert has their row ids",
	},
	{
		Name: RuleValueUnreadable, Levels: []level.Level{level.Warning}, Subject: "the type's REST plural and the field of Dealbox",
		Group: unreadableValues, GroupEnd: endOfUnreadable,
		Side:    "whoever wrote the value in Strapi",
		Means:   "documents have a value that does not fit its field: there it is null, all else of them is mirrored and counts",
		Example: unreadableValues("pipeline-deals.deal_value", 1, exampleUnreadable),
		End:     endOfUnreadable("pipeline-deals.deal_value", 1, exampleUnreadable, "1 corrected"),
		Clears:  "each of its documents has a value that can be read, is unpublished, or is deleted in Strapi",
		First:   "dealbox alerts show ID for the documents and their values; correct them in Strapi",
	},
	{
		Name: RuleWebhooksRefused, Levels: []level.Level{level.Error, level.Critical},
		Side:    "Dealbox's database",
		Means:   "webhooks were answered 503 because Postgres could not commit them; Strapi does not send them again, so Dealbox requests a full reconciliation. Critical while it has been so for over a minute, error afterwards",
		Example: WebhooksRefused(44),
		End:     EndWebhooksRefused,
		// What was refused is found missing. Only a full reconciliation ends it, so it
		// must not hide that reconciliation fails, nor that nothing moves: neither can
		// be written while Postgres is away.
		Inhibits: []string{RuleLostWebhooks},
		Clears:   "a full reconciliation that began after the last refusal ends well",
		First:    "check Postgres: disk, connections, failover",
	},
}

// Values of the examples.
var (
	exampleMember = Member{
		Name: "Acme Corp", Value: "120,000.00 THB", Shown: "its state of 2026-11-24 22:10:00 UTC",
		Reason: "Strapi answers with its error 500 (Internal Server Error) for this document, and answers for the others",
	}
	exampleUnreadable = Member{
		Key: "api::pipeline-deal.pipeline-deal/a1b2", Name: "Acme Corp", Reason: `deal_value is "1,234.50", which is no number: write 1234.50`,
	}
	exampleSuspect = Suspect{Refusal{Code: codeMismatch, Scheme: "timestamped", Named: true}, 12}
)

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

// HighestLevel returns the highest level of a rule; that of a process that sends the
// alert itself.
func HighestLevel(name string) level.Level { return slices.Max(ruleOf(name).Levels) }

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
