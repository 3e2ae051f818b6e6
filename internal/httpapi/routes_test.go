package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"dealbox/internal/httpapi"
	"dealbox/internal/inbox"
)

func TestRoutes_Unknown(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, path := range []string{"/nothing", "/api/v1/stream", "/api/v1/alerts/", "//healthz", "/healthz/", "/assets/", "/assets/nothing.js", "/assets/../httpapi.go"} {
		requireError(t, h.get(path), 404, "not_found")
	}
	for path, allow := range map[string]string{
		"/api/v1/alerts": "GET, HEAD", "/healthz": "GET, HEAD", "/": "GET, HEAD",
		"/api/v1/events": "GET, HEAD", "/metrics": "GET, HEAD", "/api/v1/events/x/replay": "POST",
		"/api/v1/models/forecast/run": "POST", "/api/v1/webhooks/strapi": "POST",
	} {
		got := h.do(h.request(http.MethodDelete, path, nil))
		requireError(t, got, 405, "method_not_allowed")
		require.Equal(t, allow, got.Header.Get("Allow"), path)
	}
	require.Equal(t, 200, h.do(h.request(http.MethodHead, "/healthz", nil)).StatusCode)
}

// A parameter that a route does not have is refused by its name: it would be answered as
// if it were not there. The webhook and what probes and browsers open take any.
func TestRoutes_UnknownParameter(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	tolerant := map[string]bool{
		"/api/v1/webhooks/strapi": true, "/healthz": true, "/readyz": true, "/api/v1/health": true, "/": true, "/assets/{name}": true, "/docs/{name}": true,
	}
	routes := 0
	require.NoError(t, h.api.Routes().(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		require.NoError(t, err)
		methods, err := route.GetMethods()
		require.NoError(t, err)
		routes++
		path := strings.NewReplacer("{id}", "1", "{name}", "x").Replace(template)
		r := h.request(methods[0], path+"?nonsense=1", nil)
		r.Header.Set("Authorization", "Bearer "+adminToken)
		got := h.do(r)
		if tolerant[template] {
			require.NotContains(t, string(got.body), "nonsense", template)
			return nil
		}
		e := requireError(t, got, 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": "nonsense"}, e["details"], template)
		return nil
	}))
	require.Greater(t, routes, 20)
	e := requireError(t, h.read("/api/v1/alerts/summary?level=error"), 400, "invalid_parameter")
	require.Equal(t, "level: there is no such parameter; there are since, until", e["message"])
	require.Equal(t, 200, h.read("/api/v1/alerts/summary?_=1700000000").StatusCode)
}

func TestRoutes_WorkerServesHealthAlone(t *testing.T) {
	t.Parallel()
	h := open(t, func(c *httpapi.Config, _ *httpapi.Stages) { c.HealthOnly = true })
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/health", "/api/v1/health/detailed"} {
		require.Equal(t, 200, h.get(path).StatusCode, path)
	}
	requests := []*http.Request{h.delivery(dealEvent("entry.update", "doc1")), h.request(http.MethodPost, "/api/v1/models/forecast/run", nil)}
	for _, path := range []string{"/", "/assets/app.js", "/docs/operations.md", "/api/v1/alerts", "/api/v1/events", "/api/v1/models/forecast/base", "/nothing"} {
		requests = append(requests, h.request(http.MethodGet, path, nil))
	}
	for _, r := range requests {
		e := requireError(t, h.do(r), 404, "not_found")
		require.Contains(t, e["message"], "--role worker", r.URL.Path)
	}
	requireError(t, h.do(h.request(http.MethodPost, "/readyz", nil)), 405, "method_not_allowed")
	requireNoEvents(t, h)
}

func TestRoutes_RequestID(t *testing.T) {
	t.Parallel()
	h := open(t)
	for given, kept := range map[string]bool{
		"":                      false,
		"0193-abc.DEF":          true,
		strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false,
		"two words":             false,
		"ümlaut":                false,
		"tab\tinside":           false,
	} {
		r := h.request(http.MethodGet, "/healthz", nil)
		r.Header["X-Request-Id"] = []string{given}
		got := h.do(r).Header.Get("X-Request-Id")
		require.NotEmpty(t, got)
		require.Equal(t, kept, got == given, given)
	}
	first, second := h.get("/healthz"), h.get("/healthz")
	require.NotEqual(t, first.Header.Get("X-Request-Id"), second.Header.Get("X-Request-Id"))
}

func TestRoutes_PanicIs500AndLoggedOnce(t *testing.T) {
	t.Parallel()
	h := open(t, func(_ *httpapi.Config, s *httpapi.Stages) {
		s.Receive = func(context.Context, inbox.Delivery) (inbox.Receipt, error) { panic("the roof is on fire") }
	})
	got := h.do(h.delivery(`{}`))
	e := requireError(t, got, 500, "internal")
	require.Equal(t, "internal error", e["message"])
	require.Equal(t, "ERROR", h.logLine(got.Header.Get("X-Request-Id"))["level"])
	require.Equal(t, 1, strings.Count(h.log.String(), "the roof is on fire"))
	require.Contains(t, h.log.String(), "routes_test.go")
	require.Equal(t, 200, h.get("/healthz").StatusCode)
}

// A stranger's path is one short, escaped value of one log line.
func TestRoutes_LogLine(t *testing.T) {
	t.Parallel()
	h := open(t)
	got := h.get("/x%0A%7B%22level%22:%22ERROR%22%7D" + strings.Repeat("y", 1000) + "?token=" + secret)
	line := h.logLine(got.Header.Get("X-Request-Id"))
	require.True(t, strings.HasPrefix(line["path"].(string), "/x {\"level\":\"ERROR\"}y"))
	require.Less(t, len(line["path"].(string)), 300)
	require.Equal(t, 1, strings.Count(h.log.String(), "\n"))
	require.NotContains(t, h.log.String(), secret)
}

func TestRoutes_DatabaseAway(t *testing.T) {
	t.Parallel()
	h := build(t, dead(t), withTokens)
	for _, path := range []string{"/api/v1/alerts", "/api/v1/models/forecast/base", "/api/v1/events"} {
		r := h.request(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+readToken)
		got := h.do(r)
		requireError(t, got, 503, "database_unavailable")
		require.Equal(t, "5", got.Header.Get("Retry-After"))
		require.NotContains(t, string(got.body), "127.0.0.1", "the cause is for the log")
	}
	r := h.request(http.MethodPost, "/api/v1/models/forecast/run", nil)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	requireError(t, h.do(r), 503, "database_unavailable")
}
