package health

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
)

// Status is how well Dealbox works as a whole.
type Status string

// The statuses, from best to worst.
const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"  // something is not as it should be, but webhooks are committed
	Unhealthy Status = "unhealthy" // a webhook cannot be committed
)

// Report is what a measurement means.
type Report struct {
	Status Status
	Checks map[string][]Check // by name, such as "postgres:latency"
	// Problems says in words what is not as it should be, the worst first. Those whose
	// status is Healthy are worth knowing and make nothing worse.
	Problems []Problem
}

// Check is one measured value, in the form of draft-inadarei-api-health-check.
type Check struct {
	Status string    `json:"status"` // pass, warn or fail
	Value  any       `json:"observedValue"`
	Unit   string    `json:"observedUnit,omitempty"`
	Time   time.Time `json:"time"`
}

const (
	pass = "pass"
	warn = "warn"
	fail = "fail"
)

// Problem is one thing that a person should know.
type Problem struct {
	Status  Status `json:"status"` // what it makes of the whole
	Title   string `json:"title"`
	Message string `json:"message"` // "" when the title says all
	First   string `json:"first_step"`
	Check   string `json:"check,omitempty"` // the check that shows it
	// Of an open episode:
	AlertID int64      `json:"alert_id,string,omitempty"`
	Rule    string     `json:"rule,omitempty"`
	Subject string     `json:"subject,omitempty"`
	Level   string     `json:"level,omitempty"`
	State   string     `json:"alert_status,omitempty"` // firing, acknowledged or suppressed
	Since   *time.Time `json:"since"`                  // nil when not known

	// sayAll keeps the message and the first step when an episode says the same.
	sayAll bool
}

// Evaluate compares a measurement with the limits. A check that fails makes
// Dealbox unhealthy, one that warns makes it degraded, and so does an open episode of
// level error or critical, whether or not somebody acknowledged or silenced it. One
// of level warning is only listed.
func Evaluate(m Measurement) Report {
	c := checks{m: m, at: m.At.UTC().Truncate(time.Millisecond), all: map[string][]Check{}}
	c.ready()
	if m.Overview == nil {
		c.add("postgres:latency", fail, nil, "ms")
		return c.report()
	}
	c.postgres()
	c.clock()
	c.ledger()
	c.strapi()
	c.notifications()
	c.reconciliation()
	c.episodes()
	return c.report()
}

const storesNothing = "Dealbox cannot store webhooks and answers them with 503. Strapi does not send them again. " +
	"When webhooks can be stored, a full reconciliation reads what they were about from Strapi."

// checks collects them.
type checks struct {
	m        Measurement
	at       time.Time
	all      map[string][]Check
	problems []Problem
}

// ready is whether a webhook can be committed, by the last commits and by what the
// server says of itself.
func (c *checks) ready() {
	err := c.m.Ready
	switch {
	case c.m.Overview == nil:
		err = cmp.Or(notReady(c.m.Err), err, error(errUnavailable(nil)))
	case err == nil && c.m.Overview.ReadOnly:
		err = errReadOnly(nil)
	}
	if err == nil {
		c.add("postgres:commits", pass, "committed", "")
		return
	}
	value, message, first := "failed", err.Error(), ""
	var known *NotReadyError
	if errors.As(err, &known) {
		value, message, first = known.Code, known.Message, known.First
	}
	c.add("postgres:commits", fail, value, "")
	c.problem("postgres:commits", Unhealthy, "Problem on Dealbox's side: "+message, storesNothing, first)
}

func (c *checks) postgres() {
	c.add("postgres:latency", pass, milliseconds(c.m.Latency), "ms")
	c.add("postgres:reads", warnIf(c.m.Err != nil), either(c.m.Err != nil, "incomplete", "complete"), "")
	if c.m.Err != nil {
		c.problem("postgres:reads", Degraded, "Some values could not be read from Postgres", "", "read the error in Dealbox's log")
	}
	days := int(c.m.Overview.PartitionDaysAhead)
	const first = "run a worker, which makes them; its log says why it cannot"
	switch {
	case days < 0: // today has none
		c.add("postgres:partitions", fail, nil, "days ahead")
		if c.m.Ready == nil { // else ready has said it
			c.problem("postgres:partitions", Unhealthy, "Problem on Dealbox's side: the inbox has no partition for today", storesNothing, first)
		}
		return
	case days < MinPartitionDays:
		c.problem("postgres:partitions", Degraded, fmt.Sprintf("The inbox has partitions for only %s", count(int64(days), "more day", "more days")),
			"Without one no webhook can be stored.", first)
	}
	c.add("postgres:partitions", warnIf(days < MinPartitionDays), days, "days ahead")
}

// clock gives a slow answer the benefit of the doubt: it shows the time only to
// half of what it took.
func (c *checks) clock() {
	skew := c.m.Skew()
	bad := skew.abs()-c.m.Latency/2 > MaxClockSkew
	c.add("clock:skew", warnIf(bad), milliseconds(time.Duration(skew)), "ms")
	if bad {
		c.problem("clock:skew", Degraded, "Compared with the database, this machine's clock is "+skew.String(), "", "set both clocks by NTP")
	}
}

func (c *checks) ledger() {
	o := c.m.Overview
	c.add("ledger:dead", warnIf(o.DeadDocuments > 0), o.DeadDocuments, "documents")
	if o.DeadDocuments > 0 {
		c.problem("ledger:dead", Degraded, count(o.DeadDocuments, "document is a dead letter", "documents are dead letters"),
			"Dealbox stopped trying to mirror them; the forecast counts them as they were before.",
			"dealbox documents list --dead shows them with their errors; then dealbox events replay --dead")
	}
	age := o.OldestPendingAgeSeconds
	late := age > MaxPendingAge.Seconds()
	c.add("ledger:oldest_pending", warnIf(late), Round(age), "s")
	if late {
		c.problem("ledger:oldest_pending", Degraded, "The oldest document has been waiting for "+seconds(age),
			"No webhook is lost, but the mirror and the forecast are behind.", "see whether Strapi answers and workers run: dealbox doctor")
	}
	c.add("ledger:quarantined", pass, o.Quarantined, "events")
	c.add("ledger:received", pass, o.Received, "events")
	if o.Received == 0 {
		first := "in Strapi, Settings, Webhooks: make one with the URL of this Dealbox and /api/v1/webhooks/strapi, then press Trigger"
		if url := c.m.sources.WebhookURL; url != "" {
			first = "in Strapi, Settings, Webhooks: make one with the URL " + url + ", then press Trigger"
		}
		c.problem("ledger:received", Healthy, "No webhook has ever come", "Until one does, only reconciliation keeps the mirror up to date.", first)
	}
}

func (c *checks) strapi() {
	refused := c.m.Overview.TokenRefused
	c.add("strapi:token", warnIf(refused), either(refused, "refused", "accepted"), "")
	if refused {
		c.problem("strapi:token", Degraded, "Strapi refuses Dealbox's token",
			"Dealbox still stores webhooks and loses nothing, but it cannot read from Strapi.", "check STRAPI_API_TOKEN")
	}
	b := c.m.Breaker
	if b == nil {
		c.add("strapi:breaker", warn, nil, "")
		return
	}
	c.add("strapi:breaker", warnIf(b.State != circuit.Closed), b.State, "")
	c.add("strapi:forced", warnIf(b.Forced), either(b.Forced, "forced", "no"), "")
	switch {
	case b.Forced:
		c.forced(*b)
	case b.State != circuit.Closed:
		c.problem("strapi:breaker", Degraded, "Problem on Strapi's side: its answers fail",
			"Dealbox still stores webhooks and loses nothing. It asks again by itself.", "check that Strapi runs and can be reached from here")
	}
}

// forced says who holds the breaker. Held closed, it protects nobody any more.
func (c *checks) forced(b circuit.Snapshot) {
	meaning := "Dealbox reads nothing from Strapi. It still stores webhooks and loses nothing."
	if b.State == circuit.Closed {
		meaning = "Dealbox asks Strapi even when all of its answers fail."
	}
	meaning = fmt.Sprintf("Held by %s since %s: %s. %s", b.ChangedBy, b.ChangedAt.UTC().Format(time.RFC3339), cmp.Or(b.Reason, "no reason given"), meaning)
	c.problem("strapi:forced", Degraded, fmt.Sprintf("An operator holds the circuit breaker %s", b.State), meaning, "when the reason is gone: dealbox breaker reset")
	c.problems[len(c.problems)-1].Since, c.problems[len(c.problems)-1].sayAll = &b.ChangedAt, true
}

// notifications warns while an open episode says that a channel fails, whether or
// not somebody was notified of it. The count of failed ones never warns: while a
// channel is down nothing fails for good for a day, and old failures say nothing
// about a channel that works again.
func (c *checks) notifications() {
	failing := c.m.Overview.FailingChannels
	bad := len(failing) > 0
	c.add("notifications:failing_channels", warnIf(bad), either(bad, strings.Join(failing, ", "), "none"), "")
	if bad {
		c.problem("notifications:failing_channels", Degraded, "Alerts are not delivered through "+strings.Join(failing, ", "), "", "dealbox doctor, then dealbox alerts test")
	}
	if channels := c.m.sources.Channels; channels != nil {
		c.add("notifications:channels", pass, cmp.Or(strings.Join(channels, ", "), "none"), "")
		if len(channels) == 0 {
			c.problem("notifications:channels", Healthy, "Nobody would be notified of an alert", "No channel is configured: alerts are only stored.",
				"set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings; then dealbox alerts test")
		}
	}
	if c.m.FailedNotifications == nil {
		c.add("notifications:failed", warn, nil, "in 24 h")
		return
	}
	c.add("notifications:failed", pass, *c.m.FailedNotifications, "in 24 h")
}

func (c *checks) reconciliation() {
	r := c.m.Reconciliation
	if r == nil {
		c.add("reconciliation:last_run", warn, nil, "")
		return
	}
	overdue := c.m.reconciliationOverdue()
	c.add("reconciliation:last_run", warnIf(r.Failing || overdue), either(r.Failing, "failing", either(overdue, "overdue", "working")), "")
	switch {
	case r.Failing:
		c.problem("reconciliation:last_run", Degraded, "The comparison with Strapi fails", "", "read the error in the alert; it is mostly Strapi's answer")
	case overdue:
		c.problem("reconciliation:last_run", Degraded, "The comparison with Strapi is overdue", "Most likely no worker runs.", "check that a dealbox serve with workers runs, and its log")
	}
	c.add("reconciliation:guard", warnIf(r.GuardTripped), either(r.GuardTripped, "tripped", "watching"), "")
	if r.GuardTripped {
		c.problem("reconciliation:guard", Degraded, "The deletion guard holds deletions back", "More documents vanished from Strapi than is plausible.",
			"check in Strapi whether they are really deleted; if so: dealbox sync --allow-deletes --type TYPE, with the type that the alert names")
	}
}

// reconciliationOverdue reports whether no reconciliation runs although Strapi may
// be asked. Most likely no worker runs: without events nothing else would show it.
func (m Measurement) reconciliationOverdue() bool {
	interval := m.sources.ReconcileInterval
	return interval > 0 && m.Breaker != nil && m.Breaker.State == circuit.Closed &&
		m.Reconciliation.IdleSeconds > (missedReconciliations*interval+reconcileGrace).Seconds()
}

// episodes says of each open episode its rule, message and first step. Where a check
// shows the same, the episode's words replace the check's.
func (c *checks) episodes() {
	if c.m.Episodes == nil {
		c.add("alerts:open", warn, nil, "")
		return
	}
	serious, all := 0, 0
	for _, e := range *c.m.Episodes {
		all = int(e.Open)
		p := c.episode(e)
		if p.Status == Degraded {
			serious++
		}
		if i := c.sameAs(p.Rule); i >= 0 {
			c.problems[i] = merged(c.problems[i], p)
			continue
		}
		c.problems = append(c.problems, p)
	}
	c.add("alerts:open", warnIf(serious > 0), all, "episodes")
}

func (c *checks) episode(e dbsqlc.HealthEpisodesRow) Problem {
	p := Problem{
		Status: Degraded, AlertID: e.ID, Rule: e.Rule, Subject: e.Subject, Level: e.Level, State: e.Status, Title: upperFirst(strings.ReplaceAll(e.Rule, "_", " ")),
		Message: e.Message, Since: &e.FirstSeen,
	}
	if e.Level == "warning" {
		p.Status = Healthy
	}
	if describe := c.m.sources.Rules.Describe; describe != nil {
		means, first := describe(e.Rule)
		p.Title, p.First = cmp.Or(upperFirst(means), p.Title), first
	}
	if e.Subject != "" {
		p.Title += " (" + e.Subject + ")"
	}
	return p
}

// merged is the problem of a check with what its episode adds.
func merged(check, episode Problem) Problem {
	episode.Check, episode.Title, episode.Status = check.Check, check.Title, worse(check.Status, episode.Status)
	if check.sayAll {
		episode.Message, episode.First, episode.Since = check.Message, check.First, check.Since
	}
	return episode
}

// sameAs returns the index of the problem of a check that shows what the rule says, and
// that no other episode has replaced yet; -1 when there is none.
func (c *checks) sameAs(rule string) int {
	return slices.IndexFunc(c.problems, func(p Problem) bool { return p.Rule == "" && c.m.sources.Rules.Of[p.Check] == rule })
}

func (c *checks) add(name, status string, value any, unit string) {
	c.all[name] = append(c.all[name], Check{Status: status, Value: value, Unit: unit, Time: c.at})
}

func (c *checks) problem(check string, status Status, title, message, first string) {
	c.problems = append(c.problems, Problem{Check: check, Status: status, Title: title, Message: message, First: first})
}

// report sorts the problems, the worst first: by status; then those that another one
// explains come last, as the first is what people read; then by an episode's level.
func (c *checks) report() Report {
	effects := c.effects()
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank(b.Status), rank(a.Status)),
			cmp.Compare(order(effects[c.ruleOf(a)]), order(effects[c.ruleOf(b)])),
			cmp.Compare(levels[b.Level], levels[a.Level]),
		)
	})
	return Report{Status: c.worst(), Checks: c.all, Problems: c.problems}
}

// effects returns the rules that a problem explains.
func (c *checks) effects() map[string]bool {
	effects := map[string]bool{}
	if c.m.sources.Rules.Explains == nil {
		return effects
	}
	for _, p := range c.problems {
		for _, rule := range c.m.sources.Rules.Explains(c.ruleOf(p)) {
			effects[rule] = true
		}
	}
	return effects
}

// ruleOf returns the rule that says what the problem says; "" when none does.
func (c *checks) ruleOf(p Problem) string { return cmp.Or(p.Rule, c.m.sources.Rules.Of[p.Check]) }

func order(isEffect bool) int {
	if isEffect {
		return 1
	}
	return 0
}

func (c *checks) worst() Status {
	worst := Healthy
	for _, checks := range c.all {
		for _, check := range checks {
			switch check.Status {
			case fail:
				return Unhealthy
			case warn:
				worst = Degraded
			}
		}
	}
	return worst
}

// levels puts what a check alone shows between error and warning.
var levels = map[string]int{"critical": 4, "error": 3, "": 2, "warning": 1}

func rank(s Status) int { return slices.Index([]Status{Healthy, Degraded, Unhealthy}, s) }

func worse(a, b Status) Status {
	if rank(a) > rank(b) {
		return a
	}
	return b
}

func warnIf(bad bool) string { return either(bad, warn, pass) }

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func milliseconds(d time.Duration) float64 { return Round(float64(d) / float64(time.Millisecond)) }

// Round keeps three decimals.
func Round(v float64) float64 { return math.Round(v*1000) / 1000 }
