package circuit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBreaker_ForceOpen(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 1, RecoveryTimeout: time.Nanosecond})

	moved, err := h.replicas[0].ForceOpen(t.Context(), "cli:ann", "Strapi is being upgraded")
	require.NoError(t, err)
	require.True(t, moved)
	moved, err = h.replicas[1].ForceOpen(t.Context(), "cli:bob", "me too")
	require.NoError(t, err)
	require.False(t, moved)

	s := h.MustRead(t)
	require.Equal(t, Open, s.State)
	require.True(t, s.Forced)
	require.Nil(t, s.RetryAt)
	require.ErrorIs(t, s.Err(), ErrOpen)
	require.ErrorContains(t, s.Err(), "forced by cli:ann")
	require.Equal(t, "cli:ann", s.ChangedBy)
	require.Equal(t, "Strapi is being upgraded", s.Reason)
	require.Equal(t, *s.OpenedAt, s.ChangedAt)
	probed, err := h.replicas[2].Probe(t.Context(), never(t))
	require.NoError(t, err)
	require.False(t, probed)

	require.NoError(t, h.replicas[0].Reset(t.Context(), "cli:ann", "upgraded"))
	s = h.MustRead(t)
	require.Equal(t, Snapshot{State: Closed, Generation: 2, ChangedAt: s.ChangedAt, ChangedBy: "cli:ann", Reason: "upgraded"}, s)
	require.Equal(t, []historyRow{
		{1, Closed, Open, 0, "cli:ann", "Strapi is being upgraded"},
		{2, Open, Closed, 0, "cli:ann", "upgraded"},
	}, h.MustHistory(t))
	require.True(t, h.transitions()[0].Forced)
}

func TestBreaker_ForceOpen_WhileAProbeIsUnderWay(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 1})
	h.MustOpen(t)
	h.MustBeDue(t)
	_, err := h.replicas[0].Probe(t.Context(), func(ctx context.Context) error {
		_, err := h.replicas[1].ForceOpen(ctx, "cli:ann", "stay away")
		return err
	})
	require.NoError(t, err)
	s := h.MustRead(t)
	require.Equal(t, Open, s.State, "the probe's success no longer counts")
	require.True(t, s.Forced)
}

func TestBreaker_ForceClose(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 1})
	h.MustOpen(t)
	moved, err := h.replicas[0].ForceClose(t.Context(), "ann", "the check is wrong")
	require.NoError(t, err)
	require.True(t, moved)
	require.Equal(t, Snapshot{State: Closed, Forced: true, Generation: 2}, h.MustReadState(t))
	require.NoError(t, h.MustRead(t).Err())

	require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
	require.Equal(t, Snapshot{State: Closed, Forced: true, Generation: 2}, h.MustReadState(t), "no failure is counted")

	require.NoError(t, h.replicas[0].Reset(t.Context(), "ann", "repaired"))
	require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
	require.Equal(t, Open, h.MustRead(t).State)
}

func TestBreaker_Reset_ClearsTheCount(t *testing.T) {
	t.Parallel()
	h := newEnv(t, Config{FailureThreshold: 2})
	require.NoError(t, fail(t.Context(), h.replicas[0], "", errDown))
	require.NoError(t, h.replicas[0].Reset(t.Context(), "ann", "a new network"))
	require.Equal(t, Snapshot{State: Closed, Generation: 1}, h.MustReadState(t))
	require.ErrorContains(t, New(h.Pool, Config{Name: "nobody"}).Reset(t.Context(), "ann", ""), `"nobody"`)
}
