package mirror

import (
	"testing"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

func TestGuard_HoldsBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		guard     Guard
		deletion  deletion
		holdsBack bool
	}{
		"the first":         {Guard{Live: 200}, deletion{}, false},
		"the tenth":         {Guard{Counted: 9, Live: 191}, deletion{}, false},
		"the eleventh":      {Guard{Counted: 10, Live: 190}, deletion{}, true},
		"verified":          {Guard{Counted: 10, Live: 190}, deletion{verified: true}, false},
		"tripped":           {Guard{Live: 200, Tripped: true}, deletion{}, true},
		"tripped, verified": {Guard{Live: 200, Tripped: true}, deletion{verified: true}, false},
		"5 % of many":       {Guard{Counted: 49, Live: 951}, deletion{}, false},
		"more than 5 %":     {Guard{Counted: 50, Live: 950}, deletion{}, true},
		"empty":             {Guard{Live: 200}, deletion{empty: true}, true},
		"empty, verified":   {Guard{Live: 200}, deletion{empty: true, verified: true}, true},
		"empty, few":        {Guard{Live: 10}, deletion{empty: true}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.holdsBack, test.guard.holdsBack(test.deletion)) })
	}
}

// The guard counts the deletions of an hour that no verified entry.delete names.
func TestGuard_HoldsBackTheEleventhDeletion(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := h.fill(20)
	for _, key := range deals[:12] {
		require.NoError(t, h.Fake.SilentDelete(fakestrapi.DealUID, key.DocumentID))
	}
	for _, key := range deals[:10] {
		require.NoError(t, h.refresh(key))
	}
	require.Empty(t, h.OpenAlerts())
	for _, key := range deals[10:12] {
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.refresh(key), &snooze)
		e := h.Entity(key)
		require.Equal(t, "pending", e.State, "the refresh stays requested")
		require.Zero(t, e.Failures, "no attempt is counted")
		require.NotNil(t, e.HeldBack)
		require.Contains(t, *e.LastError, "dealbox sync --allow-deletes")
	}
	require.Equal(t, 10, h.LiveDeals())
	require.Equal(t, 10, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM mirror_change WHERE counted"))
	require.Equal(t, map[string]string{"mass_delete_guard": "critical"}, h.OpenAlerts())
}
