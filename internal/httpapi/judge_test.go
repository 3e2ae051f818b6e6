package httpapi

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/inbox"
	"dealbox/internal/notify"
)

func TestJudge_Limits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*facts)
		want   string
	}{
		"Fine":                 {func(*facts) {}, statusHealthy},
		"PendingFiveMinutes":   {func(f *facts) { f.core.OldestPendingAgeSeconds = 300 }, statusHealthy},
		"PendingLonger":        {func(f *facts) { f.core.OldestPendingAgeSeconds = 300.001 }, statusDegraded},
		"SkewTwoSeconds":       {func(f *facts) { f.core.DatabaseNow = f.at.Add(2 * time.Second) }, statusHealthy},
		"SkewAhead":            {func(f *facts) { f.core.DatabaseNow = f.at.Add(-2001 * time.Millisecond) }, statusDegraded},
		"SkewBehind":           {func(f *facts) { f.core.DatabaseNow = f.at.Add(2001 * time.Millisecond) }, statusDegraded},
		"EnoughDaysAhead":      {func(f *facts) { f.core.PartitionDaysAhead = inbox.MinDaysAhead }, statusHealthy},
		"FewDaysAhead":         {func(f *facts) { f.core.PartitionDaysAhead = inbox.MinDaysAhead - 1 }, statusDegraded},
		"OnlyToday":            {func(f *facts) { f.core.PartitionDaysAhead = 0 }, statusDegraded},
		"NotEvenToday":         {func(f *facts) { f.core.PartitionDaysAhead = -1 }, statusUnhealthy},
		"Dead":                 {func(f *facts) { f.core.Dead = 1 }, statusDegraded},
		"Quarantined":          {func(f *facts) { f.core.Quarantined = 9 }, statusHealthy},
		"TokenRefused":         {func(f *facts) { f.core.TokenRefused = true }, statusDegraded},
		"BreakerHalfOpen":      {func(f *facts) { f.breaker.State = circuit.HalfOpen }, statusDegraded},
		"BreakerUnknown":       {func(f *facts) { f.breaker = nil }, statusDegraded},
		"ChannelFails":         {func(f *facts) { f.core.FailingChannels = []string{"webhook"} }, statusDegraded},
		"NotificationFailed":   {func(f *facts) { f.outbox.Failed24h = 1 }, statusHealthy},
		"NotificationsUnknown": {func(f *facts) { f.outbox = nil }, statusDegraded},
		"ReconcileFails":       {func(f *facts) { f.reconciliation.Failing = true }, statusDegraded},
		"ReconcileInTime":      {func(f *facts) { f.reconciliation.IdleSeconds = 16 * 60 }, statusHealthy},
		"ReconcileOverdue":     {func(f *facts) { f.reconciliation.IdleSeconds = 16*60 + 1 }, statusDegraded},
		"ReconcileUnknown":     {func(f *facts) { f.reconciliation = nil }, statusDegraded},
		"NoDatabase":           {func(f *facts) { *f = facts{at: f.at} }, statusUnhealthy},
		"DeadAndNoPartition":   {func(f *facts) { f.core.Dead, f.core.PartitionDaysAhead = 1, -1 }, statusUnhealthy},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			f := facts{
				at: now, core: &dbsqlc.HealthFactsRow{DatabaseNow: now, PartitionDaysAhead: 14},
				breaker: &circuit.Snapshot{State: circuit.Closed}, outbox: &notify.Stats{},
				reconciliation: &dbsqlc.ReconciliationStateRow{}, reconcileEvery: 2 * time.Minute,
			}
			c.change(&f)
			status, checks := judge(f)
			require.Equal(t, c.want, status)
			require.Contains(t, checks, "postgres:latency")
		})
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct{ peer, forwarded, real, want string }{
		"Direct":              {"203.0.113.9:1", "", "", "203.0.113.9"},
		"UntrustedPeerLies":   {"203.0.113.9:1", "198.51.100.1", "", "203.0.113.9"},
		"OneProxy":            {"10.0.0.1:1", "198.51.100.1", "", "198.51.100.1"},
		"ClientLies":          {"10.0.0.1:1", "1.1.1.1, 198.51.100.1", "", "198.51.100.1"},
		"TwoProxies":          {"10.0.0.1:1", "198.51.100.1, 10.0.0.2", "", "198.51.100.1"},
		"OnlyProxies":         {"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "", "10.0.0.3"},
		"Nonsense":            {"10.0.0.1:1", "198.51.100.1, unknown", "", "10.0.0.1"},
		"RealIP":              {"10.0.0.1:1", "", "198.51.100.1", "198.51.100.1"},
		"V6":                  {"[fd00::1]:1", "2001:db8::1", "", "2001:db8::1"},
		"V4InV6":              {"[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1", "", "198.51.100.1"},
		"TrustedWithoutChain": {"10.0.0.1:1", "", "", "10.0.0.1"},
		"UnixSocket":          {"@", "198.51.100.1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			if c.real != "" {
				r.Header.Set("X-Real-Ip", c.real)
			}
			require.Equal(t, c.want, clientIP(r, trusted))
		})
	}
}

// The receipt is written by hand: whatever it holds, it is the JSON that
// encoding/json would read back.
func FuzzAppendReceipt(f *testing.F) {
	f.Add("entry.update", "pipeline-deal", true)
	f.Add(`"quoted\`, "</script>\u2028\x00\xff", false)
	f.Fuzz(func(t *testing.T, event, entity string, duplicate bool) {
		id := uuid.New()
		text := appendReceipt(nil, inbox.Receipt{EventID: id, Event: event, Entity: entity, Action: inbox.ActionIgnored, Duplicate: duplicate})
		want, err := json.Marshal(struct {
			Status    string       `json:"status"`
			EventID   string       `json:"event_id"`
			Event     string       `json:"event"`
			Entity    string       `json:"entity"`
			Action    inbox.Action `json:"action"`
			Duplicate bool         `json:"duplicate"`
		}{"accepted", id.String(), event, entity, inbox.ActionIgnored, duplicate})
		require.NoError(t, err)
		require.Equal(t, string(want)+"\n", string(text))
	})
}
