package httpapi

import (
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
	"dealbox/internal/revenue"
)

type healthAnswer struct {
	Status    health.Status  `json:"status"`
	Version   string         `json:"version"`
	Timestamp time.Time      `json:"timestamp"`
	Services  servicesAnswer `json:"services"`
}

type servicesAnswer struct {
	Strapi   *string `json:"strapi"` // null when unknown
	Database string  `json:"database"`
}

// detailedAnswer has the same shape in every state: what is not known is null.
type detailedAnswer struct {
	healthAnswer
	Alerts         summaryAnswer                `json:"alerts"`
	Breaker        breakerAnswer                `json:"circuit_breaker"`
	Ledger         ledgerAnswer                 `json:"ledger"`
	Queues         map[string]map[string]*int64 `json:"queues"`
	Notifications  notificationsAnswer          `json:"notifications"`
	Reconciliation reconciliationAnswer         `json:"reconciliation"`
	Forecast       forecastStatusAnswer         `json:"forecast"`
	Checks         map[string][]health.Check    `json:"checks"`
	Problems       []health.Problem             `json:"problems"` // the worst first
}

type breakerAnswer struct {
	State        *circuit.State `json:"state"`
	FailureCount *int           `json:"failure_count"`
	OpenedAt     *time.Time     `json:"opened_at"`
	RetryAt      *time.Time     `json:"retry_at"`
	Forced       *forcedAnswer  `json:"forced"` // null while no operator holds it
}

type forcedAnswer struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

type ledgerAnswer struct {
	Received         *int64   `json:"received"`
	Processed        *int64   `json:"processed"`
	Pending          *int64   `json:"pending"`
	Dead             *int64   `json:"dead"`
	Ignored          *int64   `json:"ignored"`
	Quarantined      *int64   `json:"quarantined"`
	OldestPendingAge *float64 `json:"oldest_pending_age_seconds"` // 0 when nothing waits
	// Documents wait or are dead with or without an event.
	Documents documentsAnswer `json:"documents"`
}

type documentsAnswer struct {
	Pending *int64 `json:"pending"`
	Dead    *int64 `json:"dead"`
}

type notificationsAnswer struct {
	Pending          *int64     `json:"pending"`
	Failed24h        *int64     `json:"failed_24h"`
	OldestPendingAge *float64   `json:"oldest_pending_age_seconds"`
	LastSentAt       *time.Time `json:"last_sent_at"`
}

// reconciliationAnswer: drift is how many documents the last full run found different from Strapi; null until there was one.
type reconciliationAnswer struct {
	LastRunAt       *time.Time `json:"last_run_at"`
	LastFullRunAt   *time.Time `json:"last_full_run_at"`
	LostWebhooks24h *int64     `json:"lost_webhooks_24h"`
	Drift           *int64     `json:"drift"`
}

type forecastStatusAnswer struct {
	ComputedAt *time.Time `json:"computed_at"`
	Stale      *bool      `json:"stale"` // a document or the recompute waits
	StaleSince *time.Time `json:"stale_since"`
}

func (a *API) renderDetailedHealth(m measurement, report health.Report) detailedAnswer {
	return detailedAnswer{
		healthAnswer: a.renderHealth(m, report), Checks: report.Checks, Problems: append([]health.Problem{}, report.Problems...),
		Alerts: renderSummary(m.alerts), Breaker: renderBreaker(m.Breaker), Ledger: renderLedger(m.Overview),
		Queues: renderQueues(m.Queues), Notifications: renderNotifications(m.notifications), Forecast: renderForecastStatus(m.forecast),
		Reconciliation: renderReconciliation(m.Reconciliation),
	}
}

func (a *API) renderHealth(m measurement, report health.Report) healthAnswer {
	answer := healthAnswer{
		Status: report.Status, Version: a.config.Version, Timestamp: m.At.UTC().Truncate(time.Millisecond),
		Services: servicesAnswer{Database: renderConnected(m.Overview != nil)},
	}
	if connected := m.StrapiConnected(); connected != nil {
		strapi := renderConnected(*connected)
		answer.Services.Strapi = &strapi
	}
	return answer
}

func renderConnected(is bool) string {
	if is {
		return "connected"
	}
	return "disconnected"
}

func renderBreaker(b *circuit.Snapshot) breakerAnswer {
	if b == nil {
		return breakerAnswer{}
	}
	answer := breakerAnswer{State: &b.State, FailureCount: &b.FailureCount, OpenedAt: b.OpenedAt, RetryAt: b.RetryAt}
	if b.Forced {
		answer.Forced = &forcedAnswer{By: b.ChangedBy, Reason: b.Reason, Since: b.ChangedAt.UTC()}
	}
	return answer
}

func renderLedger(c *dbsqlc.HealthOverviewRow) ledgerAnswer {
	if c == nil {
		return ledgerAnswer{}
	}
	age := health.Round(c.OldestPendingAgeSeconds)
	return ledgerAnswer{
		Received: &c.Received, Processed: &c.Processed, Pending: &c.Pending, Dead: &c.Dead,
		Ignored: &c.Ignored, Quarantined: &c.Quarantined, OldestPendingAge: &age,
		Documents: documentsAnswer{Pending: &c.PendingDocuments, Dead: &c.DeadDocuments},
	}
}

// renderQueues has every queue and every unfinished state, also at 0.
func renderQueues(rows *[]dbsqlc.HealthQueuesRow) map[string]map[string]*int64 {
	all := map[string]map[string]*int64{}
	for _, queue := range []string{jobs.QueueSync, jobs.QueueForecast, jobs.QueueNotify, jobs.QueueMail, jobs.QueueMaintenance} {
		all[queue] = emptyQueue(rows != nil)
	}
	if rows == nil {
		return all
	}
	for _, row := range *rows {
		if all[row.Queue] == nil {
			all[row.Queue] = emptyQueue(true)
		}
		all[row.Queue][row.State] = &row.Jobs
	}
	return all
}

func emptyQueue(known bool) map[string]*int64 {
	states := map[string]*int64{}
	for _, state := range []string{"available", "pending", "retryable", "running", "scheduled"} {
		states[state] = nil
		if known {
			states[state] = new(int64)
		}
	}
	return states
}

func renderNotifications(s *notify.Stats) notificationsAnswer {
	if s == nil {
		return notificationsAnswer{}
	}
	age := health.Round(s.OldestPendingAge.Seconds())
	return notificationsAnswer{Pending: &s.Pending, Failed24h: &s.Failed24h, OldestPendingAge: &age, LastSentAt: s.LastSentAt}
}

func renderReconciliation(r *dbsqlc.ReconciliationStateRow) reconciliationAnswer {
	if r == nil {
		return reconciliationAnswer{}
	}
	answer := reconciliationAnswer{LastRunAt: r.LastRunAt, LastFullRunAt: r.LastFullRunAt, LostWebhooks24h: &r.Lost24h}
	if r.Drift >= 0 {
		answer.Drift = &r.Drift
	}
	return answer
}

func renderForecastStatus(s *revenue.Status) forecastStatusAnswer {
	if s == nil {
		return forecastStatusAnswer{}
	}
	return forecastStatusAnswer{ComputedAt: s.ComputedAt, Stale: &s.Stale, StaleSince: s.StaleSince}
}
