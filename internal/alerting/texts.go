package alerting

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// The texts of the rules, in the order of their names: what happened to what, on
// whose side the cause is, what still holds, what to do. The table in rules.go has an
// example of each. What stands in braces is filled by Raise and Resolve.

// AttributeMissing is the text of RuleAttributeMissing: attributes by Strapi's names,
// columns by ours, and the setting that maps the first of them, field.
func AttributeMissing(attributes, plural, uid, columns, setting, field string) string {
	return fmt.Sprintf("Strapi does not show %s of %s (%s), which Dealbox mirrors as %s. The cause is on Strapi's side: it was renamed, removed or made "+
		"private, or the token may not read it. Dealbox writes nothing to %s until then: the mirror and the forecast keep the values of {since}, webhooks are stored and wait. "+
		"Take the change back in Strapi; or give the token find on the type that it leads to; or name the new attribute, %s=%s=new_name; or, if it is gone on purpose, "+
		"%s=%s=. It heals by itself once Strapi shows it", attributes, plural, uid, columns, plural, setting, field, setting, field)
}

// EndAttributeMissing is the end of RuleAttributeMissing.
func EndAttributeMissing(plural string) string {
	return "Strapi shows all mapped attributes of " + plural + " again, or they are not mapped any more, after {lasted}; {waiting}"
}

// RelationHidden is the text of RuleStrapiTokenRefused where Strapi leaves relations out
// because the token may not read their other side; unmapped is what the setting would be.
func RelationHidden(relations, plural, setting, unmapped string) string {
	return fmt.Sprintf("Dealbox may read %s and not the type on the other side of %s, so Strapi leaves that relation out without a word. The cause is in Strapi's settings. "+
		"Dealbox writes nothing to %s until then: the mirror and the forecast keep the values of {since}, webhooks are stored and wait. "+
		"Give STRAPI_API_TOKEN find and findOne on both types; or, if there is no such relation, set %s to %s", plural, relations, plural, setting, unmapped)
}

// AttributeUnknown is the text of RuleAttributeUnknown about one field.
func AttributeUnknown(setting, field, attribute, plural string) string {
	return fmt.Sprintf("The setting %s maps %s to %s, which Strapi has never shown of %s: its column is null in the mirror, and all else is mirrored and counts. "+
		"Either it is a slip in the setting, or it is private in Strapi, or the token may not read what it leads to. Correct that; or set %s= if the type has none",
		setting, field, attribute, plural, field)
}

// UpdatedAtHidden is that about a type whose updatedAt Strapi hides.
func UpdatedAtHidden(plural string) string {
	return fmt.Sprintf("Strapi hides updatedAt of %s (api.responses.privateAttributes), so Dealbox cannot ask for what was updated and reads the whole type each time. "+
		"Nothing is lost; it only costs requests", plural)
}

// EndAttributeUnknown is the end of RuleAttributeUnknown.
func EndAttributeUnknown(plural string) string {
	return "Strapi shows every attribute of " + plural + " that is mapped by name, after {lasted}"
}

// BodyQuarantined is the text of RuleBodyQuarantined; reason is why the body cannot
// be read.
func BodyQuarantined(reason string) string {
	return fmt.Sprintf("Dealbox cannot read a webhook although its signature is right: %s. The cause is with whoever sent it: Strapi, or another "+
		"program that has the secret. Dealbox keeps its bytes and refreshed nothing for it; every other webhook is processed, and the next full "+
		"reconciliation finds what it was about. To see it: dealbox events list --status quarantined", reason)
}

// BodyUnnamed is the text of RuleBodyQuarantined for SubjectUnnamed and SubjectUnnamedOf.
func BodyUnnamed(event, contentType, reason string) string {
	return fmt.Sprintf("Strapi sent %s of %s without saying which document it is about: %s. The cause is on Strapi's side, which does that at times. "+
		"Dealbox keeps the webhook and compares all documents that it may be about with Strapi now, so the mirror and the forecast get the change in minutes. There is nothing to do. "+
		"To see such webhooks: dealbox events list --status quarantined", event, contentType, reason)
}

// EndBodyUnnamed is its end.
const EndBodyUnnamed = "Nothing is missing because of it any more, {lasted} after a webhook named no document: every document that it may have been about has been compared with Strapi since"

// BreakerOpened is the text of RuleBreakerOpened; cause is the last failure in words.
func BreakerOpened(cause string) string {
	return fmt.Sprintf("Strapi does not work: %s. The cause is on Strapi's side or in the network to it. Dealbox stores every webhook, so none is lost; "+
		"the mirror, the forecast and the dashboard show the state of {since}. Check that Strapi runs and can be reached from here. "+
		"Dealbox keeps asking and continues by itself", cause)
}

// BreakerForced is the text of RuleBreakerOpened when an operator holds the breaker open.
func BreakerForced(actor, reason string) string {
	return fmt.Sprintf("%s holds the breaker open (%s), so Dealbox sends Strapi no request. Nothing is wrong with Strapi because of that. Dealbox stores every "+
		"webhook, so none is lost; the mirror, the forecast and the dashboard stay as they are. To end it: dealbox breaker reset", actor, cmp.Or(reason, "without a reason"))
}

// EndBreakerOpened is the end of RuleBreakerOpened.
const EndBreakerOpened = "Strapi answers again after {lasted}; {waiting}"

// EndBreakerByHand is its end when an operator closes or resets the breaker.
func EndBreakerByHand(actor, reason string) string {
	return fmt.Sprintf("%s closed the breaker after {lasted} (%s), so Dealbox asks Strapi again; {waiting}", actor, cmp.Or(reason, "without a reason"))
}

// ClockSkew is the text of RuleClockSkew; difference is such as "3 s ahead".
func ClockSkew(host, difference string, workersStop bool) string {
	what := "Jobs begin early or late by that much; webhooks are stored"
	if workersStop {
		what = "No workers start on " + host + " while that is so: webhooks are stored and wait for another machine"
	}
	return fmt.Sprintf("The clock of %s is %s compared with the database's. One of the two machines has a wrong clock; timedatectl on both shows which. %s. "+
		"Set both by NTP", host, difference, what)
}

// EndClockSkew is the end of RuleClockSkew.
func EndClockSkew(host string) string {
	return "The clocks of " + host + " and of the database agree again after {lasted}"
}

// EndForecastSwing is the end of RuleForecastSwing.
const EndForecastSwing = "The forecast is near that of an hour ago again, {lasted} after the swing was noticed"

// ForecastSwing is the text of RuleForecastSwing; the numbers have two decimals, percent one.
func ForecastSwing(currency, total, before, percent string) string {
	return fmt.Sprintf("The forecast is %s %s now and was %s %s an hour ago: %s %%. Dealbox works, and this is what the deals in Strapi add up to: "+
		"mostly a large deal or an import, sometimes a wrong number. See which deals changed: select * from mirror_change order by id desc limit 50",
		grouped(total), currency, grouped(before), currency, signed(percent))
}

// grouped writes 812518.00 as 812,518.00.
func grouped(number string) string {
	whole, rest, _ := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + "." + rest
}

func signed(percent string) string {
	if strings.HasPrefix(percent, "-") {
		return percent
	}
	return "+" + percent
}

// EndLostWebhooks is the end of RuleLostWebhooks.
const EndLostWebhooks = "No webhook was lost lately: a full reconciliation found none, {lasted} after the first was missed. The mirror has what was missed"

// LostWebhooks is the text of RuleLostWebhooks.
func LostWebhooks(n int) string {
	return fmt.Sprintf("%s changed in Strapi and no webhook came for %s. The cause is on Strapi's side or in a proxy between: Strapi loses its queue when it "+
		"restarts; if this goes on, its webhook is off, has the wrong URL, or is refused on the way. Dealbox found the changes by reconciliation, so the mirror "+
		"and the forecast have them, but minutes late. Press Trigger at Strapi's webhook and see what it answers", documents(int64(n)), itOrThem(n))
}

// LostWebhooksRefused is that where Dealbox itself refused webhooks lately: rule is
// RuleWebhooksRefused or RuleSignatureFailures, since when its episode began.
func LostWebhooksRefused(n int, rule string, since time.Time) string {
	why := "Postgres could not commit them, on the side of Dealbox's database"
	if rule == RuleSignatureFailures {
		why = "they were not authentic, on the side of the settings or clocks of Strapi and Dealbox"
	}
	return fmt.Sprintf("%s changed in Strapi and Dealbox has stored no webhook for %s. The cause is not that Strapi sent none: Dealbox refused webhooks since %s, because %s. "+
		"Dealbox found the changes by reconciliation, so the mirror and the forecast have them, but minutes late. The alert %s says what to do",
		documents(int64(n)), itOrThem(n), notify.Clock(since), why, rule)
}

func itOrThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// MassDeleteGuard is the text of RuleMassDeleteGuard.
func MassDeleteGuard(plural string) string {
	return fmt.Sprintf("More %s vanished from Strapi within an hour than is plausible, and Dealbox deletes none of them. Often the cause is on Strapi's side: an old "+
		"backup, another database, a permission that was lost. The mirror and the forecast keep all of them; what is new or changed is still mirrored. "+
		"Look at them in Strapi first. If they are missing there by mistake, bring them back, and the next full reconciliation ends this. "+
		"If they were deleted on purpose: dealbox sync --allow-deletes --type %[1]s", plural)
}

// EndMassDeleteGuard is the end of RuleMassDeleteGuard; why is what ended it.
func EndMassDeleteGuard(plural, why string) string {
	return fmt.Sprintf("Dealbox holds no deletion of %s back any more, {lasted} after it began: %s", plural, why)
}

// NotificationFailing is the text of RuleNotificationFailing; lastError is "" when no attempt got as far as an answer.
func NotificationFailing(channel string, failed, stuck int64, lastError string) string {
	return fmt.Sprintf("Nobody gets Dealbox's alerts through %s: %d failed for good and %d wait for another attempt, and none was sent since. "+
		"The last answer: %s. The cause is on the receiver's side or in Dealbox's settings. Every alert is recorded, and the dashboard and the other channels show it. "+
		"Check the settings with dealbox doctor, then send one with dealbox alerts test",
		channel, failed, stuck, cmp.Or(strings.TrimRight(lastError, "."), "none, each attempt died before one came"))
}

// endNotificationFailing is the end of RuleNotificationFailing.
func endNotificationFailing(channel string) string {
	return "Alerts arrive through " + channel + " again, after {lasted}. Those that failed for good are not sent again; the dashboard has them"
}

// endChannelGone is its end when the channel left the settings.
func endChannelGone(channel string) string {
	return "The channel " + channel + " is no longer in Dealbox's settings, so nothing is sent through it"
}

// OldestPending is the text of RuleOldestPending.
func OldestPending(age time.Duration) string {
	return fmt.Sprintf("A change in Strapi has been waiting for %s to be mirrored. Either Strapi answers slowly (Strapi's side), or no worker runs or there are too few "+
		"(Dealbox's side); dealbox doctor says which. No webhook is lost and new ones are stored, but the mirror and the forecast are behind by that much", text.Span(age))
}

// EndOldestPending is the end of RuleOldestPending.
const EndOldestPending = "The mirror has caught up after {lasted}: nothing has been waiting for over 5 minutes; {waiting}"

// PartitionsRunningOut is the text of RulePartitionsRunningOut.
func PartitionsRunningOut(daysLeft int64) string {
	return fmt.Sprintf("Dealbox can store webhooks for %s only: it makes a partition of inbox_event for each day, 14 days ahead, and that has stopped. "+
		"The cause is on Dealbox's side: no worker runs, or the database refuses it. Until then every webhook is stored; after that each would be refused with 503. "+
		"See that dealbox serve runs with role all or worker; its log says why it makes none", text.Count(daysLeft, "more day", "more days"))
}

// EndPartitionsRunningOut is the end of RulePartitionsRunningOut.
const EndPartitionsRunningOut = "Dealbox makes its partitions ahead again, after {lasted}"

// ReconciliationFailing is the text of RuleReconciliationFailing; cause is in words.
func ReconciliationFailing(plural, kind string, run int64, cause string) string {
	return fmt.Sprintf("Dealbox could not compare %s with Strapi (%s run %d): %s. Each other type is compared by itself. Mostly the cause is on Strapi's side. Webhooks are still stored and, where Strapi answers for their document, processed, "+
		"so the mirror and the forecast follow them; what changed without a webhook stays unnoticed until a comparison ends well. "+
		"To try again and see the error at once: dealbox sync --full --wait", plural, kind, run, strings.TrimRight(cause, "."))
}

// ReconciliationStopped is that where Dealbox's own database failed; cause is in words.
func ReconciliationStopped(plural, kind string, run int64, cause string) string {
	return fmt.Sprintf("Dealbox could not compare %s with Strapi (%s run %d), because its own database failed: %s. The cause is on the side of Postgres, not of Strapi. "+
		"What changed without a webhook stays unnoticed until a comparison ends well. Check Postgres: locks, disk, connections, failover. "+
		"The next run tries again by itself; at once: dealbox sync --full --wait", plural, kind, run, strings.TrimRight(cause, "."))
}

// EndReconciliationFailing is the end of RuleReconciliationFailing.
func EndReconciliationFailing(plural string) string {
	return "Dealbox compares " + plural + " with Strapi again: a reconciliation of them ended well, after {lasted}"
}

// EndSignatureFailures is the end of RuleSignatureFailures for our own Strapi.
const EndSignatureFailures = "Dealbox accepts the webhooks of our Strapi again, after {lasted}. What was refused meanwhile, reconciliation brings: dealbox sync --full brings it now"

// StartRefused is the text of RuleStartRefused.
func StartRefused(host, why string) string {
	return fmt.Sprintf("Dealbox on %s does not start: %s. The cause is on Dealbox's side. Until it starts, this process takes no webhooks and processes none; "+
		"what was stored stays stored, and other processes go on. Mostly: dealbox migrate up, with the program of the new version", host, strings.TrimRight(why, "."))
}

// EndStartRefused is the end of RuleStartRefused.
const EndStartRefused = "Dealbox has started, {lasted} after a process had refused to; {waiting}"

// EndTypeGone is the end of an episode about a type that left the settings.
const EndTypeGone = "This content type is no longer in Dealbox's settings, so Dealbox reads nothing of it; that was so for {lasted}. What the mirror has of it stays as it is"

// StrapiTokenRefused is the text of RuleStrapiTokenRefused; cause is in words.
func StrapiTokenRefused(plural, cause string) string {
	return fmt.Sprintf("Dealbox may not read %s: %s. The cause is in Strapi's settings: the token was deleted, has expired, or may not find and findOne. "+
		"Dealbox stores every webhook, so none is lost; the mirror, the forecast and the dashboard show the state of {since}. "+
		"Make a read-only API token in Strapi (Settings, API Tokens), set STRAPI_API_TOKEN and restart Dealbox", plural, cause)
}

// EndStrapiTokenRefused is the end of RuleStrapiTokenRefused.
const EndStrapiTokenRefused = "Strapi accepts Dealbox's API token again after {lasted}; {waiting}"

// StrapiBlocked is the text of RuleStrapiBlocked; cause is in words.
func StrapiBlocked(cause string) string {
	return fmt.Sprintf("Something in front of Strapi refuses Dealbox: %s. The cause is a firewall, a CDN or a proxy that wants a login, not Strapi: its API token may well be right. "+
		"Dealbox stores every webhook, so none is lost; the mirror, the forecast and the dashboard show the state of {since}. Let GET requests from Dealbox's address pass there; "+
		"the alert's details say who answered. Dealbox keeps asking and continues by itself", cause)
}

// EndStrapiBlocked is the end of RuleStrapiBlocked.
const EndStrapiBlocked = "Strapi itself answers Dealbox again after {lasted}; {waiting}"

// StrapiUnusable is the text of RuleStrapiUnusable; cause is in words.
func StrapiUnusable(plural, cause string) string {
	return fmt.Sprintf("Dealbox cannot read %s from Strapi: %s. Strapi is there; the cause is in the content type, in a proxy before Strapi, or in Dealbox's settings "+
		"STRAPI_DEAL_TYPES, STRAPI_BILLING_TYPES and the FIELDS. Webhooks about %s are stored and wait, so none is lost; the mirror and the forecast show their state "+
		"of {since}. Other types go on. To see what does not fit: dealbox doctor", plural, cause, plural)
}

// EndStrapiUnusable is the end of RuleStrapiUnusable.
func EndStrapiUnusable(plural string) string {
	return "Dealbox can read " + plural + " from Strapi again after {lasted}; {waiting}"
}

// WebhooksRefused is the text of RuleWebhooksRefused.
func WebhooksRefused(n int64) string {
	return fmt.Sprintf("Dealbox could not store %s and answered 503: Postgres did not commit. The cause is on the side of Dealbox's database: down, full, "+
		"read-only, or out of reach. Whatever was answered with 202 is stored. Strapi does not send the refused ones again, so Dealbox compares everything with Strapi as "+
		"soon as Postgres is back; until that has ended the mirror and the forecast may lack them. Check Postgres: disk, connections, failover", webhooks(n))
}

// EndWebhooksRefused is the end of RuleWebhooksRefused.
const EndWebhooksRefused = "Nothing is missing any more, {lasted} after webhooks were refused: a full reconciliation has compared every document with Strapi since"

// WebhooksNotCommitted is the text of RuleWebhooksRefused that the process sends itself
// while nothing can be stored.
func WebhooksNotCommitted(host string, since time.Time, cause error) string {
	return fmt.Sprintf("Dealbox on %s cannot commit webhooks to Postgres since %s and answers them with 503: %s. Strapi does not send them again; "+
		"when Postgres takes writes, a full reconciliation reads them from Strapi. What is stored is safe", host, since.UTC().Format(time.RFC3339), cause)
}

// WebhooksCommitted is its end.
func WebhooksCommitted(after time.Duration) string {
	return fmt.Sprintf("Dealbox commits webhooks again after %s. A full reconciliation reads from Strapi what was refused meanwhile", text.Span(after))
}

// deadLetters words RuleEventDeadLettered.
func deadLetters(plural string, n int64, first Member) string {
	shown := cmp.Or(first.Shown, "the state before")
	if n == 1 {
		return fmt.Sprintf("%s could not be mirrored from Strapi (%s): %s. Dealbox has stopped trying it; everything else goes on. Strapi has its latest state; "+
			"the mirror, the forecast and the dashboard show %s. Open it in Strapi, correct it and save it: that makes Dealbox try again. "+
			"Or remove the cause and run: dealbox events replay --dead", first.title(), plural, strings.TrimRight(first.Reason, "."), shown)
	}
	return fmt.Sprintf("%s of %s could not be mirrored from Strapi. The first is %s: %s. Dealbox has stopped trying them; everything else goes on. "+
		"Strapi has their latest state; the mirror, the forecast and the dashboard show an older one, of the first %s. "+
		"Correct them in Strapi and save them: that makes Dealbox try again. Or remove the cause and run: dealbox events replay --dead",
		documents(n), plural, first.title(), strings.TrimRight(first.Reason, "."), shown)
}

// title returns a member's name and value for people, or else its key.
func (m Member) title() string {
	name := cmp.Or(m.Name, m.Key)
	if m.Value != "" {
		name += " (" + m.Value + ")"
	}
	return name
}

// endOfDeadLetters is the end of RuleEventDeadLettered.
func endOfDeadLetters(plural string, n int64, last Member, outcomes string) string {
	if n == 1 {
		return fmt.Sprintf("%s in %s is in step with Strapi again after {lasted}: %s", last.title(), plural, strings.TrimPrefix(outcomes, "1 "))
	}
	return fmt.Sprintf("All %s of %s that had failed are in step with Strapi again after {lasted}: %s", documents(n), plural, outcomes)
}

// unreadableValues words RuleValueUnreadable, whose subject is a plural and a field.
func unreadableValues(subject string, n int64, first Member) string {
	plural, field, _ := strings.Cut(subject, ".")
	others := ""
	if n > 1 {
		others = fmt.Sprintf(" It is the first of %s with such a %s.", documents(n), field)
	}
	return fmt.Sprintf("Dealbox cannot read the %s of %s in %s: %s.%s The cause is what was written in Strapi. Until it is corrected there, the mirror and the forecast "+
		"have no %s of it; all else of the document is mirrored and counts. Correct it in Strapi and save it", field, first.title(), plural,
		strings.TrimRight(first.Reason, "."), others, field)
}

// EndValueUnmapped is the end of RuleValueUnreadable for a field that setting maps to nothing.
func EndValueUnmapped(field, plural, setting string) string {
	return fmt.Sprintf("No %s of %s has to be read any more: %s maps it to nothing", field, plural, setting)
}

// endOfUnreadable is the end of RuleValueUnreadable.
func endOfUnreadable(subject string, n int64, last Member, outcomes string) string {
	plural, field, _ := strings.Cut(subject, ".")
	of := "of " + documents(n)
	if n == 1 {
		of = "of " + last.title()
	}
	return fmt.Sprintf("Dealbox reads every %s of %s again after {lasted}; what became of those it could not read, %s: %s", field, plural, of, outcomes)
}

// groupEnd words the end of an episode that has members.
func (r Rule) groupEnd(subject string, n int64, last Member, outcomes string) string {
	if r.GroupEnd == nil {
		return documents(n) + " of " + subject + ": " + outcomes
	}
	return r.GroupEnd(subject, n, last, outcomes)
}

// endOfQuiet ends an episode that has not fired for long enough.
func endOfQuiet(row dbsqlc.Alert, after time.Duration) ending {
	return ending{
		cause: cause{reason: "it did not fire for " + text.Span(after)},
		message: fmt.Sprintf("Over, as far as Dealbox can see: it was noticed last %s after it began and not since, for %s. It was: %s",
			text.Span(row.LastSeen.Sub(row.FirstSeen)), text.Span(after), row.Message),
	}
}

// endByHand is the end that an operator gave an episode.
func endByHand(row dbsqlc.Alert, by cause) string {
	s := by.actor + " closed this alert by hand after {lasted}"
	if by.reason != "" {
		s += " (" + by.reason + ")"
	}
	if row.Members > 0 {
		s += fmt.Sprintf("; %s of it %s as before", documents(row.Members), isOrAre(row.Members))
	}
	return s + ". It was: " + row.Message
}

func isOrAre(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// webhooksWaited says what becomes of the webhooks that wait at the end of an outage.
func webhooksWaited(n int64) string {
	switch n {
	case 0:
		return "no webhook waits"
	case 1:
		return "1 webhook waited and is being processed now, it is not lost"
	}
	return thousands(n) + " webhooks waited and are being processed now, none is lost"
}

// documents words a number of documents, such as "5,000 documents".
func documents(n int64) string {
	if n == 1 {
		return "1 document"
	}
	return thousands(n) + " documents"
}

func webhooks(n int64) string {
	if n == 1 {
		return "1 webhook"
	}
	return thousands(n) + " webhooks"
}

func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
