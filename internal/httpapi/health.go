package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/health"
	"dealbox/internal/notify"
	"dealbox/internal/revenue"
)

// showAlive serves GET /healthz: this process answers. It asks no dependency.
func (a *API) showAlive(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// showReady serves GET /readyz: a webhook sent here now can be committed.
func (a *API) showReady(w http.ResponseWriter, r *http.Request) error {
	if err := a.stages.Readiness.Check(); err != nil {
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
	return health.CheckReady(ctx, a.stages.DB, a.stages.Commits)
}

// showHealth serves GET /api/v1/health: always 200, and no details.
func (a *API) showHealth(w http.ResponseWriter, r *http.Request) error {
	m := a.health.get(func() measurement { return a.measure(context.WithoutCancel(r.Context())) })
	return writeJSON(w, http.StatusOK, a.renderHealth(m, health.Evaluate(m.Measurement)))
}

// showDetailedHealth serves GET /api/v1/health/detailed: 503 when unhealthy.
func (a *API) showDetailedHealth(w http.ResponseWriter, r *http.Request) error {
	m := a.measure(r.Context())
	report := health.Evaluate(m.Measurement)
	code := http.StatusOK
	if report.Status == health.Unhealthy {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	logCause(w, m.Err) // the answer says null, the log says why
	return writeJSON(w, code, a.renderDetailedHealth(m, report))
}

// measurement is what health is evaluated from, with what only the answers and
// the metrics show. A part that could not be read is nil.
type measurement struct {
	health.Measurement

	notifications *notify.Stats
	alerts        *alerting.Summary
	forecast      *revenue.Status
}

// measure reads it over one connection, in at most ProbeTimeout.
func (a *API) measure(ctx context.Context) measurement {
	ctx, cancel := context.WithTimeout(ctx, a.config.ProbeTimeout)
	defer cancel()
	var ready error
	var asked sync.WaitGroup
	asked.Go(func() { ready = a.stages.Commits.Check(ctx) }) // it may wait for a probe
	m := a.read(ctx)
	asked.Wait()
	m.Ready = ready
	return m
}

func (a *API) read(ctx context.Context) measurement {
	conn, err := a.stages.DB.Acquire(ctx)
	if err != nil {
		return measurement{Measurement: health.Measurement{At: time.Now(), Err: fmt.Errorf("connect to the database: %w", err)}}
	}
	defer conn.Release()
	m := measurement{Measurement: health.Measure(ctx, conn, health.Sources{
		Breaker: a.stages.Breaker, Rules: alerting.HealthRules(), ReconcileInterval: a.config.ReconcileInterval,
		Channels: a.config.Channels, WebhookURL: a.config.WebhookURL,
	})}
	if m.Overview == nil {
		return m
	}
	m.alerts = health.Part(&m.Measurement, func() (alerting.Summary, error) { return alerting.Summarize(ctx, conn) })
	m.forecast = health.Part(&m.Measurement, func() (revenue.Status, error) { return a.stages.Forecast.Status(ctx, conn) })
	m.notifications = health.Part(&m.Measurement, func() (notify.Stats, error) { return notify.ReadStats(ctx, conn) })
	if m.notifications != nil {
		m.FailedNotifications = &m.notifications.Failed24h
	}
	return m
}
