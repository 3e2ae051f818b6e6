package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
)

func TestBreakerClosed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for want, c := range map[string]struct {
		actor   string
		open    time.Duration // 0: it was closed
		waiting dbsqlc.EntityWaitingRow
	}{
		"Strapi answers again after 31 s; 44 webhooks waited, none is lost, and Dealbox processes them now": {
			"dealbox", 31 * time.Second, dbsqlc.EntityWaitingRow{Documents: 12, Webhooks: 44}},
		"Strapi answers again after 5 min; 1 document waited, and Dealbox refreshes them now": {
			"dealbox", 5 * time.Minute, dbsqlc.EntityWaitingRow{Documents: 1}},
		"Strapi answers again after 3 h 5 min; nothing waited": {"dealbox", 3*time.Hour + 5*time.Minute, dbsqlc.EntityWaitingRow{}},
		"cli:ann closed the breaker after 90 s (upgraded); 1 webhook waited, none is lost, and Dealbox processes them now": {
			"cli:ann", 90 * time.Second, dbsqlc.EntityWaitingRow{Documents: 1, Webhooks: 1}},
		"cli:ann closed the breaker (upgraded); nothing waited": {"cli:ann", 0, dbsqlc.EntityWaitingRow{}},
	} {
		transition := circuit.Transition{To: circuit.Closed, Actor: c.actor, Reason: "upgraded", At: at}
		if since := at.Add(-c.open); c.open > 0 {
			transition.WasOpenSince = &since
		}
		require.Equal(t, want, breakerClosed(transition, c.waiting))
	}
}
