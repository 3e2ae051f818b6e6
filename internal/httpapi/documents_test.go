package httpapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	h := build(t, dead(t), withTokens) // also for somebody without a token, while the database is away
	page := h.get("/docs/operations.md")
	require.Equal(t, 200, page.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	html := string(page.body)
	require.Contains(t, html, `<h3 id="`+alerting.RuleBreakerOpened+`">`+alerting.RuleBreakerOpened+`</h3>`)
	require.Contains(t, html, "<table>")
	require.NotContains(t, html, "<!-- raw HTML omitted -->")

	// Every link of a page to another one, or to a section, leads somewhere.
	followed := 0
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		target, section, _ := strings.Cut(m[1], "#")
		to := page
		if target != "" {
			to = h.get("/docs/" + target)
		}
		require.Equal(t, 200, to.StatusCode, m[1])
		if section != "" {
			require.Contains(t, string(to.body), `id="`+section+`"`, m[1])
		}
		followed++
	}
	require.Greater(t, followed, 10)

	unit := h.get("/docs/dealbox.service")
	require.Equal(t, "text/plain; charset=utf-8", unit.Header.Get("Content-Type"))
	require.Contains(t, string(unit.body), "[Service]")
	requireError(t, h.get("/docs/docs.go"), 404, "not_found")
	requireError(t, h.get("/docs/"), 404, "not_found")
}
