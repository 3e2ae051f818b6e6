package health

import (
	"math"
	"strings"
	"time"

	"dealbox/internal/circuit"
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

// Evaluate compares a measurement with the limits. A check that fails makes
// Dealbox unhealthy, one that warns makes it degraded.
func Evaluate(m Measurement) Report {
	c := checks{at: m.At.UTC().Truncate(time.Millisecond), all: map[string][]Check{}}
	if m.Overview == nil {
		c.add("postgres:latency", fail, nil, "ms")
		return Report{Status: c.worst(), Checks: c.all}
	}
	c.postgres(m)
	c.clock(m)
	c.ledger(m)
	c.strapi(m)
	c.notifications(m)
	c.reconciliation(m)
	return Report{Status: c.worst(), Checks: c.all}
}

// checks collects them.
type checks struct {
	at  time.Time
	all map[string][]Check
}

func (c *checks) postgres(m Measurement) {
	c.add("postgres:latency", pass, milliseconds(m.Latency), "ms")
	c.add("postgres:reads", warnIf(m.Err != nil), either(m.Err != nil, "incomplete", "complete"), "")
	days := int(m.Overview.PartitionDaysAhead)
	if days < 0 { // today has none
		c.add("postgres:partitions", fail, nil, "days ahead")
		return
	}
	c.add("postgres:partitions", warnIf(days < MinPartitionDays), days, "days ahead")
}

// clock gives a slow answer the benefit of the doubt: it shows the time only to
// half of what it took.
func (c *checks) clock(m Measurement) {
	skew := m.Skew()
	c.add("clock:skew", warnIf(skew.abs()-m.Latency/2 > MaxClockSkew), milliseconds(time.Duration(skew)), "ms")
}

func (c *checks) ledger(m Measurement) {
	c.add("ledger:dead", warnIf(m.Overview.Dead > 0), m.Overview.Dead, "events")
	age := m.Overview.OldestPendingAgeSeconds
	c.add("ledger:oldest_pending", warnIf(age > MaxPendingAge.Seconds()), Round(age), "s")
}

func (c *checks) strapi(m Measurement) {
	refused := m.Overview.TokenRefused
	c.add("strapi:token", warnIf(refused), either(refused, "refused", "accepted"), "")
	if m.Breaker == nil {
		c.add("strapi:breaker", warn, nil, "")
		return
	}
	c.add("strapi:breaker", warnIf(m.Breaker.State != circuit.Closed), m.Breaker.State, "")
}

// notifications warns while an open episode says that a channel fails, whether or
// not somebody was notified of it. The count of failed ones never warns: while a
// channel is down nothing fails for good for a day, and old failures say nothing
// about a channel that works again.
func (c *checks) notifications(m Measurement) {
	failing := m.Overview.FailingChannels
	bad := len(failing) > 0
	c.add("notifications:failing_channels", warnIf(bad), either(bad, strings.Join(failing, ", "), "none"), "")
	if m.FailedNotifications == nil {
		c.add("notifications:failed", warn, nil, "in 24 h")
		return
	}
	c.add("notifications:failed", pass, *m.FailedNotifications, "in 24 h")
}

func (c *checks) reconciliation(m Measurement) {
	r := m.Reconciliation
	if r == nil {
		c.add("reconciliation:last_run", warn, nil, "")
		return
	}
	overdue := reconciliationOverdue(m)
	c.add("reconciliation:last_run", warnIf(r.Failing || overdue), either(r.Failing, "failing", either(overdue, "overdue", "working")), "")
	c.add("reconciliation:guard", warnIf(r.GuardTripped), either(r.GuardTripped, "tripped", "watching"), "")
}

// reconciliationOverdue reports whether no reconciliation runs although Strapi may
// be asked. Most likely no worker runs: without events nothing else would show it.
func reconciliationOverdue(m Measurement) bool {
	return m.ReconcileInterval > 0 && m.Breaker != nil && m.Breaker.State == circuit.Closed &&
		m.Reconciliation.IdleSeconds > (missedReconciliations*m.ReconcileInterval+reconcileGrace).Seconds()
}

func (c *checks) add(name, status string, value any, unit string) {
	c.all[name] = append(c.all[name], Check{Status: status, Value: value, Unit: unit, Time: c.at})
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

func warnIf(bad bool) string { return either(bad, warn, pass) }

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func milliseconds(d time.Duration) float64 { return Round(float64(d) / float64(time.Millisecond)) }

// Round keeps three decimals.
func Round(v float64) float64 { return math.Round(v*1000) / 1000 }
