package mirror

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
)

func TestChange_Kind(t *testing.T) {
	t.Parallel()
	now, then := time.Now(), "-infinity"
	published := mirroredRow{json: []byte("{}"), PublishedAt: &then}
	draft := mirroredRow{json: []byte("{}")}
	tombstone := mirroredRow{json: []byte("{}"), PublishedAt: &then, DeletedAt: &then}
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

// A time that an operator wrote in SQL, and that Go cannot read, must not keep the
// document from its next sync.
func TestMirroredRow_AnyTime(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"infinity", "0001-01-01T00:00:00+00:00 BC", "10000-01-01T00:00:00+00:00"} {
		var row mirroredRow
		require.NoError(t, json.Unmarshal([]byte(`{"published_at":"`+at+`","deleted_at":null}`), &row))
		require.NotNil(t, row.PublishedAt)
		require.Nil(t, row.DeletedAt)
	}
}
