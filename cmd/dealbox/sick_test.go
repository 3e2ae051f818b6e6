package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
)

// Documents that fail while Strapi is well stop neither the others nor the breaker:
// two processes, all webhooks at once.
func TestReplicas_SickDocuments(t *testing.T) {
	t.Parallel()
	const documents, ill = 200, 30
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)},
		"LOG_LEVEL", "error", "RECONCILE_INTERVAL", "2h", "RECONCILE_FULL_INTERVAL", "4h", "JOB_MAX_ATTEMPTS", "1",
		"RETRY_INITIAL_DELAY", "100ms", "RETRY_MAX_DELAY", "200ms")
	var all []*env
	for range 2 {
		one := *h
		port := freePort(t)
		one.address, one.env = "http://127.0.0.1:"+port, h.env.with("PORT", port)
		one.startProcess()
		all = append(all, &one)
	}
	var ids []string
	for i := range documents {
		e, err := h.fake.Create(fakestrapi.DealUID, fakestrapi.Values{"name": fmt.Sprint("deal ", i), "status": "active", "deal_value": 100})
		require.NoError(t, err)
		ids = append(ids, e.DocumentID)
	}
	deliver := func(round string) {
		var senders sync.WaitGroup
		for sender := range 8 {
			senders.Go(func() {
				for i := sender; i < documents; i += 8 {
					if status := post(all[i%2].address, "msg_"+round+ids[i], update(ids[i])); status != http.StatusAccepted {
						t.Errorf("webhook of %s: %d", ids[i], status)
					}
				}
			})
		}
		senders.Wait()
	}
	deliver("well")
	h.waitIdle()
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: http.StatusInternalServerError, Documents: ids[:ill]})
	deliver("sick")
	h.waitIdle()

	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM circuit_breaker_event"), "the breaker stayed closed")
	require.Equal(t, ill, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE state = 'dead'"))
	require.Equal(t, documents-ill, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE state = 'ok' AND document_id <> ALL ($1)", ids[:ill]))

	// The other case: any request may fail. Nothing dies of that.
	h.fake.Faults.Set(fakestrapi.Fault{Kind: fakestrapi.FaultStatus, Status: http.StatusInternalServerError, Share: 0.05})
	deliver("chance")
	h.waitIdle()
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM circuit_breaker_event"), "the breaker stayed closed")
	h.requireMirrorEqualsStrapi()
}
