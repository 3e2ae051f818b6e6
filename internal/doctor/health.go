package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/notify"
	"dealbox/internal/text"
)

const checkHealth = "health"

// saidElsewhere are the health checks that have a finding of their own.
var saidElsewhere = []string{"clock:skew", "postgres:partitions", "ledger:received", "notifications:channels"}

// examineHealth evaluates what the tables show, as the service's health does: open
// alerts, dead letters, what waits, the breaker. It cannot know whether the service's
// last commits failed.
func (d doctor) examineHealth(ctx context.Context, pool *pgxpool.Pool) []Finding {
	m := health.Measure(ctx, pool, health.Sources{
		Breaker: circuit.New(pool, circuit.Config{}), Rules: alerting.HealthRules(), ReconcileInterval: d.config.Reconcile.Interval,
	})
	if m.Overview == nil {
		return []Finding{skipped(checkHealth, "the schema is behind, or the role may not read it")}
	}
	stats := health.Part(&m, func() (notify.Stats, error) { return notify.ReadStats(ctx, pool) })
	if stats != nil {
		m.FailedNotifications = &stats.Failed24h
	}
	report := health.Evaluate(m)
	var findings []Finding
	for _, p := range report.Problems {
		if slices.Contains(saidElsewhere, p.Check) {
			continue
		}
		finding := findingOf(p)
		if p.Status == health.Unhealthy {
			finding.Status = Fail
		}
		findings = append(findings, finding)
	}
	if len(findings) == 0 {
		return []Finding{ok(checkHealth, ledgerText(m.Overview))}
	}
	return findings
}

const (
	// maxSubject bounds the subject of an alert in the name of its check, in bytes: the
	// reason why a webhook cannot be read is one, and the longest name pads all of them.
	maxSubject = 40
	// maxMessage bounds the message of an alert, in bytes; dealbox alerts show has all of it.
	maxMessage = 300
)

// findingOf returns a warning that says what the problem says.
func findingOf(p health.Problem) Finding {
	if p.Rule == "" {
		detail := p.Title
		if p.Message != "" {
			detail += ": " + p.Message
		}
		return warn(checkHealth+" "+p.Check, detail, p.First)
	}
	check := "alert " + p.Rule
	if p.Subject != "" {
		check += " (" + text.Line(p.Subject, maxSubject) + ")"
	}
	said := cmp.Or(p.Message, p.Title)
	detail, first := text.Line(said, maxMessage), p.First
	if detail != said {
		first = fmt.Sprintf("%s; all that it says: dealbox alerts show %d", first, p.AlertID)
	}
	return warn(check, detail, first)
}

func ledgerText(o *dbsqlc.HealthOverviewRow) string {
	return fmt.Sprintf("no open alert; %d events received, %d documents wait, %d are dead letters", o.Received, o.PendingDocuments, o.DeadDocuments)
}
