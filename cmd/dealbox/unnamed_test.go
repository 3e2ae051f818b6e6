package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
)

// Strapi publishes a deal and sends `entry: null`, as it does at times: the deal is found
// at once, and then the alert is over.
func TestServe_WebhookThatNamesNoDocument(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, "RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h")
	h.serve()
	h.eventually("the first contact is over", func() bool {
		return h.MustText("SELECT count(*)::text FROM reconciliation_run WHERE status = 'done'") == "1"
	})
	h.deals(1)
	require.Equal(t, http.StatusAccepted, h.deliver("msg_1",
		`{"event":"entry.publish","model":"pipeline-deal","uid":"`+fakestrapi.DealUID+`","entry":null}`))
	h.eventually("the deal is mirrored", func() bool { return h.MustText("SELECT count(*)::text FROM deal") == "1" })
	h.eventually("the alert is over", func() bool {
		return h.MustText("SELECT coalesce(max(status), '') FROM alert WHERE rule = 'body_quarantined'") == "resolved"
	})
	h.waitIdle()
}
