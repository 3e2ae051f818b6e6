package mirror

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
)

func TestChange_Kind(t *testing.T) {
	t.Parallel()
	now := time.Now()
	published := mirroredRow{json: []byte("{}"), PublishedAt: &now}
	draft := mirroredRow{json: []byte("{}")}
	tombstone := mirroredRow{json: []byte("{}"), PublishedAt: &now, DeletedAt: &now}
	deal, billing := dbsqlc.DealUpsertParams{PublishedAt: &now}, dbsqlc.BillingUpsertParams{PublishedAt: &now}
	found, gone := current{found: true}, current{}
	for want, changes := range map[string][]change{
		"created":     {{current: found, deal: deal}, {current: found, billing: billing}, {current: found}},
		"updated":     {{current: found, before: published, deal: deal}, {current: found, before: draft, billing: billing}, {current: found, before: draft}},
		"unpublished": {{current: found, before: published}},
		"deleted":     {{current: gone, before: published}, {current: gone, before: draft}},
		"revived":     {{current: found, before: tombstone, deal: deal}, {current: found, before: tombstone}},
	} {
		for i, c := range changes {
			require.Equal(t, want, c.kind(), "%s %d", want, i)
		}
	}
}
