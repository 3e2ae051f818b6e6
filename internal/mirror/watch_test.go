package mirror

import (
	"testing"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

// A token that may find, but not findOne, is refused all the time and not now and
// then: one episode, which ends when it may.
func TestWatch_TokenWithoutFindOne(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	key := h.Deal(nil)
	h.Fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultForbidden, Action: "findOne"})
	args := h.enqueue(key)
	for range 3 {
		h.sync.paused.clear(key.UID) // as another replica's, or as time passes
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, h.work(args), &snooze)
		require.NoError(t, h.sync.watchOnce(t.Context()))
		require.Equal(t, map[string]string{"strapi_token_refused": "critical"}, h.OpenAlerts())
	}
	require.Equal(t, 1, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM alert"))
	require.Zero(t, h.Entity(key).Failures)

	h.Fake.Faults.Clear()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Empty(t, h.OpenAlerts())
	require.NoError(t, h.work(args))

	h.Fake.Requests.Reset()
	require.NoError(t, h.sync.watchOnce(t.Context()))
	require.Zero(t, h.Fake.Requests.Counts().Documents, "a token that nobody doubts is not tried")
}
