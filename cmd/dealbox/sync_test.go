package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
)

// No webhook comes at all: the service fills itself at start, and `dealbox sync`
// heals what changed since.
func TestSync_WithoutAnyWebhook(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	var ids []string
	for i := range 40 {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		require.NoError(t, err)
		ids = append(ids, e.DocumentID)
	}
	h.serve()
	live := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			return h.MustText("SELECT concat(count(*), ' ', (SELECT count(*) FROM entity_sync WHERE done_seq < want_seq)) FROM deal WHERE deleted_at IS NULL") == want
		}, patience, 20*time.Millisecond)
	}
	live("40 0")

	require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, ids[0]))
	got := dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "1 deleted in Strapi; requested 1 refresh")
	live("39 0")

	for _, id := range ids[1:21] {
		require.NoError(t, h.fake.SilentDelete(fakestrapi.DealUID, id))
	}
	got = dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "holds 20 deletions back")
	live("39 0")

	got = dealbox(t, h.env, "", "sync --allow-deletes --wait")
	require.Equal(t, exitDone, got.code, got.stderr)
	live("19 0")

	got = dealbox(t, h.env, "", "sync")
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "requested reconciliation")
	reconciliation := h.health()["reconciliation"].(map[string]any)
	require.NotNil(t, reconciliation["last_full_run_at"])
}

func TestSync_FailedRunEndsWithItsError(t *testing.T) {
	t.Parallel()
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)})
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultForbidden})
	h.serve()
	got := dealbox(t, h.env, "", "sync --full --wait")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.stderr, "failed: ")
	require.Contains(t, got.stderr, "403")
}

func TestBar(t *testing.T) {
	t.Parallel()
	for listed, want := range map[int64]int{0: 0, 50: 15, 100: 30, 120: 30} {
		text := bar(dbsqlc.ReconciliationRun{Expected: 100, Listed: listed})
		require.Len(t, text, len(bar(dbsqlc.ReconciliationRun{})))
		n := 0
		for _, r := range text {
			if r == '=' {
				n++
			}
		}
		require.Equal(t, want, n, text)
	}
}
