package httpapi_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDashboard_Headers(t *testing.T) {
	t.Parallel()
	h := open(t)
	page := h.get("/")
	require.Equal(t, 200, page.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
	policy := page.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "script-src 'self'")
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
	require.Equal(t, "nosniff", page.Header.Get("X-Content-Type-Options"))
	require.Equal(t, "DENY", page.Header.Get("X-Frame-Options"))
	require.NotEmpty(t, page.Header.Get("Referrer-Policy"))

	r := h.request(http.MethodGet, "/", nil)
	r.Header.Set("If-None-Match", page.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, h.do(r).StatusCode)
	require.NotEmpty(t, page.Header.Get("X-Request-Id"))
}

// Every file that the page and its modules name is served, from here.
func TestDashboard_Assets(t *testing.T) {
	t.Parallel()
	h := open(t)
	named := regexp.MustCompile(`(?:src|href)="(assets/[^"]+)"|from "\./([^"]+)"`)
	seen := map[string]bool{}
	for _, text := range assets(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			path := "/" + m[1]
			if m[2] != "" {
				path = "/assets/" + m[2]
			}
			seen[path] = true
			require.Equal(t, 200, h.get(path).StatusCode, path)
		}
	}
	require.Greater(t, len(seen), 5)
	require.Equal(t, "text/javascript; charset=utf-8", h.get("/assets/dashboard.js").Header.Get("Content-Type"))
	require.Equal(t, "text/css; charset=utf-8", h.get("/assets/dashboard.css").Header.Get("Content-Type"))
}

// A deal's name only ever becomes text, and nothing comes from another site.
func TestDashboard_NoMarkupFromData(t *testing.T) {
	t.Parallel()
	for name, text := range assets(t) {
		for _, never := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "onload=", "onclick=", "style=", "<script>"} {
			require.NotContains(t, text, never, name)
		}
		text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		require.NotRegexp(t, `https?://`, text, name)
	}
}

func assets(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	paths, err := filepath.Glob("assets/*")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		all[path] = string(text)
	}
	require.NotEmpty(t, all)
	return all
}
