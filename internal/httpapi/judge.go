package httpapi

import (
	"math"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/inbox"
	"dealbox/internal/notify"
	"dealbox/internal/revenue"
)

// Limits past which a check warns.
const (
	maxPendingAge = 5 * time.Minute
	maxClockSkew  = 2 * time.Second
	// maxReconcileDelay comes on top of three intervals: a run waits for a full one
	// before it, and for its runner's lease when that died.
	maxReconcileDelay = 10 * time.Minute
	statusHealthy     = "healthy"
	statusDegraded    = "degraded"
	statusUnhealthy   = "unhealthy"
)

// facts are what a probe found out. A part that could not be read is nil.
type facts struct {
	at      time.Time     // the middle of the main query, by this machine's clock
	latency time.Duration // of the main query
	core    *dbsqlc.HealthFactsRow
	breaker *circuit.Snapshot
	outbox  *notify.Stats
	queues  *[]dbsqlc.HealthQueuesRow
	alerts  *alerting.Summary
	outlook *revenue.Status // of the forecast

	reconciliation *dbsqlc.ReconciliationStateRow
	reconcileEvery time.Duration // 0: not known
	err            error         // the first that was met
}

// check is one line of "checks", in the form of draft-inadarei-api-health-check.
type check struct {
	Status string    `json:"status"` // pass, warn or fail
	Value  any       `json:"observedValue"`
	Unit   string    `json:"observedUnit,omitempty"`
	Time   time.Time `json:"time"`
}

// judge turns facts into checks and a verdict: unhealthy when a webhook cannot
// be committed (a check fails), degraded when anything else is not as it should be.
func judge(f facts) (string, map[string][]check) {
	j := verdict{at: f.at.UTC().Truncate(time.Millisecond), checks: map[string][]check{}}
	if f.core == nil {
		j.add("postgres:latency", "fail", nil, "ms")
		return j.status(), j.checks
	}
	j.add("postgres:latency", "pass", milliseconds(f.latency), "ms")
	j.add("postgres:reads", warnIf(f.err != nil), word(f.err != nil, "incomplete", "complete"), "")
	j.partitions(int(f.core.PartitionDaysAhead))
	skew := f.at.Sub(f.core.DatabaseNow)
	// A slow answer tells the time only that well.
	j.add("clock:skew", warnIf(skew.Abs()-f.latency/2 > maxClockSkew), milliseconds(skew), "ms")
	j.add("ledger:dead", warnIf(f.core.Dead > 0), f.core.Dead, "events")
	age := f.core.OldestPendingAgeSeconds
	j.add("ledger:oldest_pending", warnIf(age > maxPendingAge.Seconds()), round(age), "s")
	j.add("strapi:token", warnIf(f.core.TokenRefused), word(f.core.TokenRefused, "refused", "accepted"), "")
	j.breaker(f.breaker)
	j.notifications(f.core.FailingChannels, f.outbox)
	j.reconciliation(f)
	return j.status(), j.checks
}

type verdict struct {
	at     time.Time
	checks map[string][]check
}

func (j *verdict) add(name, status string, value any, unit string) {
	j.checks[name] = append(j.checks[name], check{Status: status, Value: value, Unit: unit, Time: j.at})
}

func (j *verdict) partitions(daysAhead int) {
	switch {
	case daysAhead < 0: // today has none
		j.add("postgres:partitions", "fail", nil, "days ahead")
	default:
		j.add("postgres:partitions", warnIf(daysAhead < inbox.MinDaysAhead), daysAhead, "days ahead")
	}
}

func (j *verdict) breaker(b *circuit.Snapshot) {
	if b == nil {
		j.add("strapi:breaker", "warn", nil, "")
		return
	}
	j.add("strapi:breaker", warnIf(b.State != circuit.Closed), b.State, "")
}

// notifications warns while an episode says that a channel fails, whether or not
// it is told of: a channel that is down fails nothing for good for a day, and
// what did fail says nothing of a channel that works again.
func (j *verdict) notifications(failing []string, o *notify.Stats) {
	bad := len(failing) > 0
	j.add("notifications:failing_channels", warnIf(bad), word(bad, strings.Join(failing, ", "), "none"), "")
	if o == nil {
		j.add("notifications:failed", "warn", nil, "in 24 h")
		return
	}
	j.add("notifications:failed", "pass", o.Failed24h, "in 24 h")
}

func (j *verdict) reconciliation(f facts) {
	r := f.reconciliation
	if r == nil {
		j.add("reconciliation:last_run", "warn", nil, "")
		return
	}
	j.add("reconciliation:last_run", warnIf(r.Failing || overdue(f)), word(r.Failing, "failing", word(overdue(f), "overdue", "working")), "")
	j.add("reconciliation:guard", warnIf(r.GuardTripped), word(r.GuardTripped, "tripped", "watching"), "")
}

// overdue: nobody reconciles, though Strapi may be asked. Most likely no worker runs:
// without events nothing else would tell.
func overdue(f facts) bool {
	return f.reconcileEvery > 0 && f.breaker != nil && f.breaker.State == circuit.Closed &&
		f.reconciliation.IdleSeconds > (3*f.reconcileEvery+maxReconcileDelay).Seconds()
}

func (j *verdict) status() string {
	worst := statusHealthy
	for _, checks := range j.checks {
		for _, c := range checks {
			switch c.Status {
			case "fail":
				return statusUnhealthy
			case "warn":
				worst = statusDegraded
			}
		}
	}
	return worst
}

func warnIf(bad bool) string { return word(bad, "warn", "pass") }

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func milliseconds(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// round keeps three decimals.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
