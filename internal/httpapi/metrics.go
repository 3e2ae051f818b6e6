package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/health"
)

// metrics holds what this process counts itself. Each scrape reads everything else
// from the database, so that replicas agree and a restart loses nothing.
type metrics struct {
	registry *prometheus.Registry
	webhook  *prometheus.HistogramVec
	large    prometheus.Counter
}

func newMetrics(version string, stages Stages) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		webhook: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dealbox_webhook_request_duration_seconds",
			Help: "Requests to the webhook route of this process and how long they took, by HTTP status.",
			// Usual is some milliseconds; Strapi gives up after 10 s.
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"status"}),
		large: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dealbox_webhook_bodies_not_kept_total",
			Help: "Authentic webhooks of this process over WEBHOOK_MAX_BYTES: their body was not kept, and their document is refreshed.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dealbox_build_info", Help: "Always 1; the version is the label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.webhook, m.large, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if groups := stages.Groups; groups != nil {
		m.registry.MustRegister(
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "dealbox_ingest_groups_total", Help: "Transactions of this process that committed deliveries.",
			}, func() float64 { n, _ := groups(); return float64(n) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "dealbox_ingest_deliveries_total", Help: "Deliveries that they committed, duplicates too: divided by the groups it is the mean group.",
			}, func() float64 { _, n := groups(); return float64(n) }),
		)
	}
	return m
}

// observe counts a request to the webhook route.
func (m *metrics) observe(r *http.Request, status int, took time.Duration) {
	// Statuses are this package's own, so the label has few values.
	if r.URL.Path == webhookPath && status != 0 {
		m.webhook.WithLabelValues(strconv.Itoa(status)).Observe(took.Seconds())
	}
}

// showMetrics serves GET /metrics in the format of Prometheus. When the database does
// not answer, the metrics of the process remain, and dealbox_database_up is 0.
func (a *API) showMetrics(w http.ResponseWriter, r *http.Request) error {
	m := scrape{measurement: a.measure(r.Context())}
	if m.Overview != nil {
		ctx, cancel := context.WithTimeout(r.Context(), a.config.ProbeTimeout)
		defer cancel()
		m.open = health.Part(&m.Measurement, func() ([]dbsqlc.HealthOpenAlertsRow, error) { return dbsqlc.New().HealthOpenAlerts(ctx, a.stages.DB) })
	}
	logCause(w, m.Err) // a metric is missing; the log says why
	shared := prometheus.NewRegistry()
	if err := shared.Register(m); err != nil {
		return err
	}
	w.Header()["Cache-Control"] = valueNoStore
	promhttp.HandlerFor(prometheus.Gatherers{a.metrics.registry, shared}, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

// scrape is one measurement as metrics. Health is evaluated from the same values.
type scrape struct {
	measurement

	open *[]dbsqlc.HealthOpenAlertsRow // all of them: Episodes has the worst 50
}

var (
	descUp            = describe("database_up", "1 when the database answered this scrape.")
	descReceived      = describe("events_received_total", "Events stored: the sum of dealbox_events over all statuses.")
	descEvents        = describe("events", "Events stored, by what became of them.", "status")
	descDocuments     = describe("documents", "Documents whose mirror is behind Strapi, with or without an event: pending or dead.", "state")
	descHealth        = describe("health", "1 for the status that /api/v1/health has.", "status")
	descReady         = describe("webhooks_committed", "1 while webhooks can be committed: the last one was, or a probe.")
	descOpen          = describe("alerts_open", "Open alerts of level warning, error and critical, by level and rule; silenced ones too.", "level", "rule")
	descPendingAge    = describe("events_oldest_pending_age_seconds", "How long the oldest document waits, with or without an event; 0 when none does.")
	descPartitions    = describe("inbox_partition_days_ahead", "Days after today that have a partition; -1 when today has none.")
	descBreaker       = describe("breaker_state", "1 for the state that Strapi's breaker is in.", "state")
	descFailures      = describe("breaker_failures", "Failures in a row that the breaker counted.")
	descJobs          = describe("jobs", "Jobs that are not finished.", "queue", "state")
	descNotifications = describe("notifications_pending", "Notifications that wait to be sent.")
	descNotifyFailed  = describe("notifications_failed_24h", "Notifications that failed for good in the last 24 hours.")
	descNotifyAge     = describe("notifications_oldest_pending_age_seconds", "How long the oldest waits; 0 when none does.")
	descAlerts        = describe("alerts", "Alerts kept, by status.", "status")
	descStale         = describe("forecast_stale", "1 while the forecast is behind Strapi: its recompute waits, or a document waits or is dead.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dealbox_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (s scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descHealth, descReady, descOpen, descReceived, descEvents, descDocuments, descPendingAge, descPartitions, descBreaker, descFailures,
		descJobs, descNotifications, descNotifyFailed, descNotifyAge, descAlerts, descStale,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What could not be read is
// missing: a monitor can alert on a missing metric, but not on an invented 0.
func (s scrape) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descUp, one(s.Overview != nil))
	is := health.Evaluate(s.Measurement).Status
	for _, status := range []health.Status{health.Healthy, health.Degraded, health.Unhealthy} {
		gauge(descHealth, one(status == is), string(status))
	}
	gauge(descReady, one(is != health.Unhealthy))
	s.collectOpen(ch)
	if s.Overview != nil {
		ch <- prometheus.MustNewConstMetric(descReceived, prometheus.CounterValue, float64(s.Overview.Received))
		gauge(descEvents, float64(s.Overview.Processed), "processed")
		gauge(descEvents, float64(s.Overview.Pending), "pending")
		gauge(descEvents, float64(s.Overview.Dead), "dead")
		gauge(descEvents, float64(s.Overview.Ignored), "ignored")
		gauge(descEvents, float64(s.Overview.Quarantined), "quarantined")
		gauge(descDocuments, float64(s.Overview.PendingDocuments), "pending")
		gauge(descDocuments, float64(s.Overview.DeadDocuments), "dead")
		gauge(descPendingAge, s.Overview.OldestPendingAgeSeconds)
		gauge(descPartitions, float64(s.Overview.PartitionDaysAhead))
	}
	if s.Breaker != nil {
		for _, state := range []circuit.State{circuit.Closed, circuit.Open, circuit.HalfOpen} {
			gauge(descBreaker, one(s.Breaker.State == state), string(state))
		}
		gauge(descFailures, float64(s.Breaker.FailureCount))
	}
	if s.Queues != nil {
		for queue, states := range renderQueues(s.Queues) {
			for state, jobs := range states {
				gauge(descJobs, float64(*jobs), queue, state)
			}
		}
	}
	if s.notifications != nil {
		gauge(descNotifications, float64(s.notifications.Pending))
		gauge(descNotifyFailed, float64(s.notifications.Failed24h))
		gauge(descNotifyAge, s.notifications.OldestPendingAge.Seconds())
	}
	if s.alerts != nil {
		for status, alerts := range s.alerts.ByStatus {
			gauge(descAlerts, float64(alerts), string(status))
		}
	}
	if s.forecast != nil {
		gauge(descStale, one(s.forecast.Stale))
	}
}

// collectOpen counts the open alerts, so that a monitor can name the rule.
func (s scrape) collectOpen(ch chan<- prometheus.Metric) {
	if s.open == nil {
		return
	}
	for _, row := range *s.open {
		ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(row.Open), row.Level, row.Rule)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
