package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
)

// scrape reads /metrics as Prometheus does.
func (h *env) scrape() map[string]*dto.MetricFamily {
	h.T.Helper()
	got := h.get("/metrics")
	require.Equal(h.T, 200, got.StatusCode, string(got.body))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(got.body)))
	require.NoError(h.T, err)
	return families
}

// value is the metric whose labels have the values, in the order of their names.
func value(t testing.TB, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	require.Contains(t, families, name)
	for _, m := range families[name].GetMetric() {
		var values []string
		for _, l := range m.GetLabel() {
			values = append(values, l.GetValue())
		}
		if strings.Join(values, ",") != strings.Join(labels, ",") {
			continue
		}
		switch {
		case m.GetGauge() != nil:
			return m.GetGauge().GetValue()
		case m.GetCounter() != nil:
			return m.GetCounter().GetValue()
		default:
			return float64(m.GetHistogram().GetSampleCount())
		}
	}
	require.Fail(t, "no such metric", "%s %v", name, labels)
	return 0
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	refuse := false
	h := open(t, func(_ *httpapi.Config, s *httpapi.Stages) {
		receive := s.Receive
		s.Receive = func(ctx context.Context, d inbox.Delivery) (inbox.Receipt, error) {
			if refuse {
				return inbox.Receipt{}, errors.New("away")
			}
			return receive(ctx, d)
		}
	})
	for _, body := range []string{dealEvent("entry.update", "a"), dealEvent("entry.update", "b"), `{"event":"trigger-test"}`, `{`} {
		h.accept(body)
	}
	h.kill("b")
	refuse = true
	require.Equal(t, 503, h.do(h.delivery(`{}`)).StatusCode)
	unsigned := h.delivery(`{}`)
	unsigned.Header.Del("X-Strapi-Signature")
	require.Equal(t, 401, h.do(unsigned).StatusCode)

	var m map[string]*dto.MetricFamily
	require.Eventually(t, func() bool { // a request is counted after its answer is out
		m = h.scrape()
		return len(m["dealbox_webhook_request_duration_seconds"].GetMetric()) == 3
	}, time.Minute, 10*time.Millisecond)
	for name, want := range map[string]float64{
		"dealbox_database_up": 1, "dealbox_events_received_total": 4, "dealbox_events:pending": 1, "dealbox_events:dead": 1,
		"dealbox_events:ignored": 1, "dealbox_events:quarantined": 1, "dealbox_events:processed": 0,
		"dealbox_breaker_state:closed": 1, "dealbox_breaker_state:open": 0, "dealbox_breaker_state:half_open": 0, "dealbox_breaker_failures": 0,
		"dealbox_jobs:sync:available": 2, "dealbox_jobs:forecast:running": 0, "dealbox_notifications_pending": 0, "dealbox_notifications_failed_24h": 0,
		"dealbox_webhook_request_duration_seconds:202": 4, "dealbox_webhook_request_duration_seconds:503": 1, "dealbox_webhook_request_duration_seconds:401": 1,
		"dealbox_ingest_deliveries_total": 4, "dealbox_alerts:firing": 1, "dealbox_forecast_stale": 1, "dealbox_documents:pending": 1, "dealbox_documents:dead": 1, "dealbox_build_info:1.2.3": 1,
	} {
		parts := strings.Split(name, ":")
		require.InDelta(t, want, value(t, m, parts[0], parts[1:]...), 0, name)
	}
	require.Positive(t, value(t, m, "go_goroutines"))
	require.Positive(t, value(t, m, "dealbox_ingest_groups_total"))
	require.Equal(t, "no-store", h.get("/metrics").Header.Get("Cache-Control"))
}

// An answer lists the worst 50 open alerts; the metric counts all.
func TestMetrics_ManyOpenAlerts(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.MustExec(`INSERT INTO alert (fingerprint, rule, subject, level, message, occurrences, first_seen, last_seen)
		SELECT rule || n, rule, n::text, level, 'm', 1, now(), now()
		FROM generate_series(1, 60) n, (VALUES ('strapi_unusable', 'error'), ('value_unreadable', 'warning')) r (rule, level)`)
	metrics := h.scrape()
	require.InDelta(t, 60, value(t, metrics, "dealbox_alerts_open", "error", "strapi_unusable"), 0)
	require.InDelta(t, 60, value(t, metrics, "dealbox_alerts_open", "warning", "value_unreadable"), 0)
}

// A database that is away costs the scrape what comes from it, and no more.
func TestMetrics_DatabaseAway(t *testing.T) {
	t.Parallel()
	h := build(t, silent(t), impatient)
	m := h.scrape()
	require.Zero(t, value(t, m, "dealbox_database_up"))
	require.NotContains(t, m, "dealbox_events", "unknown is not 0")
	require.Positive(t, value(t, m, "go_goroutines"))
}
