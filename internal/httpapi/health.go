package httpapi

import (
	"context"
	"net/http"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
	"dealbox/internal/revenue"
)

type healthAnswer struct {
	Status    string         `json:"status"`
	Version   string         `json:"version"`
	Timestamp time.Time      `json:"timestamp"`
	Services  servicesAnswer `json:"services"`
}

type servicesAnswer struct {
	Strapi   *string `json:"strapi"` // null when unknown
	Database string  `json:"database"`
}

// detailedAnswer keeps its shape in every state: what is unknown is null.
type detailedAnswer struct {
	healthAnswer
	Alerts         summaryAnswer                `json:"alerts"`
	Breaker        breakerAnswer                `json:"circuit_breaker"`
	Ledger         ledgerAnswer                 `json:"ledger"`
	Queues         map[string]map[string]*int64 `json:"queues"`
	Notifications  notificationsAnswer          `json:"notifications"`
	Reconciliation reconciliationAnswer         `json:"reconciliation"`
	Forecast       outlookAnswer                `json:"forecast"`
	Checks         map[string][]check           `json:"checks"`
}

type breakerAnswer struct {
	State        *circuit.State `json:"state"`
	FailureCount *int           `json:"failure_count"`
	OpenedAt     *time.Time     `json:"opened_at"`
	RetryAt      *time.Time     `json:"retry_at"`
}

type ledgerAnswer struct {
	Received         *int64   `json:"received"`
	Processed        *int64   `json:"processed"`
	Pending          *int64   `json:"pending"`
	Dead             *int64   `json:"dead"`
	Ignored          *int64   `json:"ignored"`
	Quarantined      *int64   `json:"quarantined"`
	OldestPendingAge *float64 `json:"oldest_pending_age_seconds"` // 0 when nothing waits
}

type notificationsAnswer struct {
	Pending          *int64     `json:"pending"`
	Failed24h        *int64     `json:"failed_24h"`
	OldestPendingAge *float64   `json:"oldest_pending_age_seconds"`
	LastSentAt       *time.Time `json:"last_sent_at"`
}

// reconciliationAnswer: drift is how many documents the last full run found out
// of step; null until there was one.
type reconciliationAnswer struct {
	LastRunAt       *time.Time `json:"last_run_at"`
	LastFullRunAt   *time.Time `json:"last_full_run_at"`
	LostWebhooks24h *int64     `json:"lost_webhooks_24h"`
	Drift           *int64     `json:"drift"`
}

type outlookAnswer struct {
	ComputedAt *time.Time `json:"computed_at"`
	Stale      *bool      `json:"stale"`
}

// showAlive answers GET /healthz: the process answers. It asks nobody.
func (a *API) showAlive(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// showReady answers GET /readyz: a webhook sent here now can be committed.
// Strapi is not asked about: while it is away, webhooks are still taken.
func (a *API) showReady(w http.ResponseWriter, r *http.Request) error {
	if err := a.stages.Readiness.check(); err != nil {
		return err
	}
	if err := a.ready.get(func() error { return a.checkReady(context.WithoutCancel(r.Context())) }); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (a *API) checkReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.config.ProbeTimeout)
	defer cancel()
	partition, err := dbsqlc.New().HealthReady(ctx, a.stages.DB)
	if err != nil {
		return &Error{
			Status: http.StatusServiceUnavailable, Code: "database_unavailable",
			Message: "the database does not answer", cause: err,
		}
	}
	if !partition {
		return notReady("no_partition", "inbox_event has no partition for today")
	}
	return nil
}

// showHealth answers GET /api/v1/health: always 200, and no details.
func (a *API) showHealth(w http.ResponseWriter, r *http.Request) error {
	f := a.health.get(func() facts { return a.gather(context.WithoutCancel(r.Context())) })
	status, _ := judge(f)
	return writeJSON(w, http.StatusOK, a.renderHealth(f, status))
}

// showDetailedHealth answers GET /api/v1/health/detailed: 503 when unhealthy.
func (a *API) showDetailedHealth(w http.ResponseWriter, r *http.Request) error {
	f := a.gather(r.Context())
	status, checks := judge(f)
	answer := detailedAnswer{
		healthAnswer: a.renderHealth(f, status), Checks: checks,
		Alerts: renderSummary(f.alerts), Breaker: renderBreaker(f.breaker), Ledger: renderLedger(f.core),
		Queues: renderQueues(f.queues), Notifications: renderOutbox(f.outbox), Forecast: renderOutlook(f.outlook),
		Reconciliation: renderReconciliation(f.reconciliation),
	}
	code := http.StatusOK
	if status == statusUnhealthy {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	if rec, ok := w.(*recorder); ok {
		rec.err = f.err // the answer says null; the log says why
	}
	return writeJSON(w, code, answer)
}

func (a *API) renderHealth(f facts, status string) healthAnswer {
	answer := healthAnswer{
		Status: status, Version: a.config.Version, Timestamp: f.at.UTC().Truncate(time.Millisecond),
		Services: servicesAnswer{Database: word(f.core != nil, "connected", "disconnected")},
	}
	if f.core != nil && f.breaker != nil {
		works := f.breaker.State == circuit.Closed && !f.core.TokenRefused
		strapi := word(works, "connected", "disconnected")
		answer.Services.Strapi = &strapi
	}
	return answer
}

func renderBreaker(b *circuit.Snapshot) breakerAnswer {
	if b == nil {
		return breakerAnswer{}
	}
	return breakerAnswer{State: &b.State, FailureCount: &b.FailureCount, OpenedAt: b.OpenedAt, RetryAt: b.RetryAt}
}

func renderLedger(c *dbsqlc.HealthFactsRow) ledgerAnswer {
	if c == nil {
		return ledgerAnswer{}
	}
	age := round(c.OldestPendingAgeSeconds)
	return ledgerAnswer{
		Received: &c.Received, Processed: &c.Processed, Pending: &c.Pending, Dead: &c.Dead,
		Ignored: &c.Ignored, Quarantined: &c.Quarantined, OldestPendingAge: &age,
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

func renderOutbox(s *notify.Stats) notificationsAnswer {
	if s == nil {
		return notificationsAnswer{}
	}
	age := round(s.OldestPendingAge.Seconds())
	return notificationsAnswer{Pending: &s.Pending, Failed24h: &s.Failed24h, OldestPendingAge: &age, LastSentAt: s.LastSentAt}
}

func renderReconciliation(r *dbsqlc.ReconciliationStateRow) reconciliationAnswer {
	if r == nil {
		return reconciliationAnswer{}
	}
	answer := reconciliationAnswer{LastRunAt: utc(r.LastRunAt), LastFullRunAt: utc(r.LastFullRunAt), LostWebhooks24h: &r.Lost24h}
	if r.Drift >= 0 {
		answer.Drift = &r.Drift
	}
	return answer
}

func renderOutlook(s *revenue.Status) outlookAnswer {
	if s == nil {
		return outlookAnswer{}
	}
	return outlookAnswer{ComputedAt: utc(s.ComputedAt), Stale: &s.Stale}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
