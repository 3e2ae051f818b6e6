package fakestrapi

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

// quick returns traffic without waiting.
func quick() TrafficConfig {
	return TrafficConfig{SeedEvery: time.Microsecond, ChangeEvery: 50 * time.Microsecond, OutageAfter: -1, Seed: 7}
}

func newTraffic(t *testing.T, s *Strapi, c TrafficConfig) *Traffic {
	t.Helper()
	traffic, err := NewTraffic(s, c)
	require.NoError(t, err)
	return traffic
}

// runUntil runs the traffic until the condition holds.
func runUntil(t *testing.T, traffic *Traffic, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- traffic.Run(ctx) }()
	require.Eventually(t, holds, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestTraffic_Seed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRig(t, func(c *Config) { c.Dir = dir })
	traffic := newTraffic(t, r.Strapi, quick())
	require.NoError(t, traffic.Seed(t.Context(), 200, 300))

	require.Len(t, r.drain(), 500, "each document has its webhook")
	deals := r.List(DealUID, strapi.Published)
	count := map[string]int{}
	for _, d := range deals {
		count[d.Text("currency")]++
		count[d.Text("status")]++
		if d.Text("expected_close_date") == "" {
			count["undated"]++
		}
		require.NotEmpty(t, d.Text("name"))
	}
	require.Greater(t, count["THB"], 140)
	require.Positive(t, count["USD"])
	require.Positive(t, count["EUR"])
	require.Positive(t, count["inactive"])
	require.Positive(t, count["undated"])

	require.NoError(t, traffic.Seed(t.Context(), 200, 301), "only what is missing")
	require.Len(t, r.List(DealUID, strapi.Published), 200)
	numbers := map[string]bool{}
	for _, b := range r.List(BillingUID, strapi.Published) {
		numbers[b.Text("billing_id")] = true
		require.Len(t, b.Relations["deal"], 1)
	}
	require.Len(t, numbers, 301)
	require.Equal(t, 301, newTraffic(t, r.Strapi, quick()).made.billings, "numbers go on after a restart")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, traffic.Seed(ctx, 1000, 0), context.Canceled)
}

func TestTraffic_Run(t *testing.T) {
	t.Parallel()
	for name, types := range map[string][]Type{
		"WithoutDrafts": PipelineTypes(false, false), "WithDrafts": PipelineTypes(true, true), "Captured": CapturedTypes(true),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) { c.Types = types; c.KeepDeliveries = -1 })
			traffic := newTraffic(t, r.Strapi, quick())
			require.NoError(t, traffic.Seed(t.Context(), 20, 30))
			r.drain()
			quiet := r.documentIDs(DealUID)[0]
			traffic.Exclude(quiet)
			before := r.mustGet(DealUID, quiet)
			kinds := map[string]bool{"entry.create": true, "entry.update": true, "entry.delete": true}
			if types[0].Drafts {
				kinds["entry.publish"], kinds["entry.unpublish"] = true, true
			}

			runUntil(t, traffic, func() bool { return r.Webhooks.Stats().Queued > 600 })

			seen := map[string]bool{}
			for _, d := range r.drain() {
				seen[d.event] = true
				require.NotEqual(t, quiet, entryOf(t, d)["documentId"])
			}
			require.Equal(t, kinds, seen)
			require.InDelta(t, 20, len(r.List(DealUID, strapi.Draft)), 1)
			require.InDelta(t, 30, len(r.List(BillingUID, strapi.Draft)), 1)
			require.Equal(t, before, r.mustGet(DealUID, quiet))
			traffic.Include(quiet)
			require.False(t, traffic.excludes(quiet))
		})
	}
}

func TestTraffic_Outages(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := quick()
	c.OutageAfter, c.OutageEvery, c.OutageFor = time.Millisecond, time.Millisecond, 200*time.Millisecond
	var mu sync.Mutex
	var announced []string
	c.Announce = func(s string) { mu.Lock(); announced = append(announced, s); mu.Unlock() }
	said := func() []string { mu.Lock(); defer mu.Unlock(); return announced }
	traffic := newTraffic(t, r.Strapi, c)

	sawOutage := false
	runUntil(t, traffic, func() bool {
		sawOutage = sawOutage || r.get("/api/pipeline-deals").status == 503
		return sawOutage && len(said()) >= 3
	})

	require.Equal(t, 200, r.get("/api/pipeline-deals").status, "the end of Run ends the outage")
	all := said()
	require.True(t, strings.Contains(all[0], "503") && strings.Contains(all[1], "back"), "%q", all)
	require.Zero(t, len(all)%2, "each outage ends: %q", all)
}
