package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
)

func TestServe_Heartbeat(t *testing.T) {
	t.Parallel()
	var beats atomic.Int64
	monitor := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats.Add(1) }))
	t.Cleanup(monitor.Close)
	h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(false, false)}, "HEARTBEAT_URL", monitor.URL)
	require.Zero(t, beats.Load())
	h.serve()
	h.eventually("a heartbeat", func() bool { return beats.Load() > 0 })
}
