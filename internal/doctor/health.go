package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/notify"
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
		detail := p.Title
		if p.Message != "" {
			detail += ": " + p.Message
		}
		check := checkHealth + " " + p.Check
		if p.Rule != "" {
			check = "alert " + p.Rule
			if p.Subject != "" {
				check += " (" + p.Subject + ")"
			}
		}
		if p.Status == health.Unhealthy {
			findings = append(findings, failed(check, detail, p.First))
			continue
		}
		findings = append(findings, warn(check, detail, p.First))
	}
	if len(findings) == 0 {
		return []Finding{ok(checkHealth, ledgerText(m.Overview))}
	}
	return findings
}

func ledgerText(o *dbsqlc.HealthOverviewRow) string {
	return fmt.Sprintf("no open alert; %d events received, %d documents wait, %d are dead letters", o.Received, o.PendingDocuments, o.DeadDocuments)
}
