package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
)

func TestEvaluate_Limits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Measurement)
		want   Status
	}{
		"Fine":                 {func(*Measurement) {}, Healthy},
		"PendingFiveMinutes":   {func(m *Measurement) { m.Overview.OldestPendingAgeSeconds = 300 }, Healthy},
		"PendingLonger":        {func(m *Measurement) { m.Overview.OldestPendingAgeSeconds = 300.001 }, Degraded},
		"SkewTwoSeconds":       {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(2 * time.Second) }, Healthy},
		"SkewAhead":            {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(-2001 * time.Millisecond) }, Degraded},
		"SkewBehind":           {func(m *Measurement) { m.Overview.DatabaseNow = m.At.Add(2001 * time.Millisecond) }, Degraded},
		"EnoughDaysAhead":      {func(m *Measurement) { m.Overview.PartitionDaysAhead = MinPartitionDays }, Healthy},
		"FewDaysAhead":         {func(m *Measurement) { m.Overview.PartitionDaysAhead = MinPartitionDays - 1 }, Degraded},
		"OnlyToday":            {func(m *Measurement) { m.Overview.PartitionDaysAhead = 0 }, Degraded},
		"NotEvenToday":         {func(m *Measurement) { m.Overview.PartitionDaysAhead = -1 }, Unhealthy},
		"Dead":                 {func(m *Measurement) { m.Overview.Dead = 1 }, Degraded},
		"Quarantined":          {func(m *Measurement) { m.Overview.Quarantined = 9 }, Healthy},
		"TokenRefused":         {func(m *Measurement) { m.Overview.TokenRefused = true }, Degraded},
		"BreakerHalfOpen":      {func(m *Measurement) { m.Breaker.State = circuit.HalfOpen }, Degraded},
		"BreakerUnknown":       {func(m *Measurement) { m.Breaker = nil }, Degraded},
		"ChannelFails":         {func(m *Measurement) { m.Overview.FailingChannels = []string{"webhook"} }, Degraded},
		"NotificationFailed":   {func(m *Measurement) { *m.FailedNotifications = 1 }, Healthy},
		"NotificationsUnknown": {func(m *Measurement) { m.FailedNotifications = nil }, Degraded},
		"ReconcileFails":       {func(m *Measurement) { m.Reconciliation.Failing = true }, Degraded},
		"ReconcileInTime":      {func(m *Measurement) { m.Reconciliation.IdleSeconds = 16 * 60 }, Healthy},
		"ReconcileOverdue":     {func(m *Measurement) { m.Reconciliation.IdleSeconds = 16*60 + 1 }, Degraded},
		"ReconcileUnknown":     {func(m *Measurement) { m.Reconciliation = nil }, Degraded},
		"NoDatabase":           {func(m *Measurement) { *m = Measurement{At: m.At} }, Unhealthy},
		"DeadAndNoPartition":   {func(m *Measurement) { m.Overview.Dead, m.Overview.PartitionDaysAhead = 1, -1 }, Unhealthy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			m := Measurement{
				At: now, Overview: &dbsqlc.HealthOverviewRow{DatabaseNow: now, PartitionDaysAhead: 14},
				Breaker: &circuit.Snapshot{State: circuit.Closed}, FailedNotifications: new(int64),
				Reconciliation: &dbsqlc.ReconciliationStateRow{}, ReconcileInterval: 2 * time.Minute,
			}
			c.change(&m)
			report := Evaluate(m)
			require.Equal(t, c.want, report.Status)
			require.Contains(t, report.Checks, "postgres:latency")
		})
	}
}
