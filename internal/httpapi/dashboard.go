package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/gorilla/mux"
)

// showDashboard serves GET /: a page without data. Its script calls the API.
func (a *API) showDashboard(w http.ResponseWriter, r *http.Request) error {
	return a.send(w, r, a.assets[pageFile])
}

// showAsset serves GET /assets/{name}.
func (a *API) showAsset(w http.ResponseWriter, r *http.Request) error {
	return a.send(w, r, a.assets[mux.Vars(r)["name"]])
}

// send answers with a file, and with 404 for the zero value.
func (a *API) send(w http.ResponseWriter, r *http.Request, file asset) error {
	if file.etag == "" {
		return notFound(w, r)
	}
	h := w.Header()
	h.Set("Content-Type", file.contentType)
	h.Set("ETag", file.etag)
	h.Set("Cache-Control", "no-cache") // the browser checks for a new version each time
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.body))
	return nil
}

//go:embed assets
var files embed.FS

// pageFile is the dashboard itself; the rest of assets/ is served by name.
const pageFile = "index.html"

// contentPolicy lets the page load its own files and nothing else: no inline
// script, no other site, no frame around it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func loadAssets() (map[string]asset, error) {
	entries, err := files.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("read the embedded assets: %w", err)
	}
	all := map[string]asset{}
	for _, entry := range entries {
		body, err := files.ReadFile(path.Join("assets", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the embedded assets: %w", err)
		}
		all[entry.Name()] = newAsset(body, contentType(entry.Name()))
	}
	return all, nil
}

type asset struct {
	body        []byte
	contentType string
	etag        string
}

func newAsset(body []byte, contentType string) asset {
	sum := sha256.Sum256(body)
	return asset{body: body, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// contentType does not use the machine's MIME table for the types that matter: a
// browser refuses a module with the wrong one.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
