package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest/strapitest"
)

// A value that cannot be read is null on both sides, so its document differs once and not
// in every run. What Strapi does not show any more is not compared at all.
func TestReconcile_UnreadableAndMissing(t *testing.T) {
	t.Parallel()
	h := newEnv(t, func(c *strapitest.Config) {
		c.Strapi.Types[0].Attributes[2].Kind = fakestrapi.String // deal_value
	})
	h.Deal(fakestrapi.Values{"name": "one", "deal_value": "1,234.50"})
	run := h.sweep(Request{Extent: Full})
	require.EqualValues(t, 1, run.Missing)
	h.drain()
	require.Equal(t, "one ", h.MustText("SELECT concat(name, ' ', deal_value) FROM deal"))
	require.Equal(t, map[string]string{"value_unreadable": "warning"}, h.OpenAlerts())
	for range 2 {
		run = h.sweep(Request{Extent: Full})
		require.Zero(t, run.Missing+run.Stale)
		require.Zero(t, run.Enqueued)
	}

	h.Fake.Hide(fakestrapi.DealUID, "name")
	run = h.sweep(Request{Extent: Full})
	require.Zero(t, run.Stale)
	require.Contains(t, h.MustText("SELECT coalesce(error, '') FROM reconciliation_run ORDER BY id DESC LIMIT 1"), "Strapi does not show name of pipeline-deals")
	require.Equal(t, "one ", h.MustText("SELECT concat(name, ' ', deal_value) FROM deal"))
}
