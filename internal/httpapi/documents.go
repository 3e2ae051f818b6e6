package httpapi

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/gorilla/mux"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"

	"dealbox/docs"
)

// loadDocuments renders the documents once, by file name: links between them
// work here as they do in the repository.
func loadDocuments() (map[string]asset, error) {
	names, err := fs.Glob(docs.Files, "*")
	if err != nil {
		return nil, fmt.Errorf("list the embedded documents: %w", err)
	}
	all := map[string]asset{}
	for _, name := range names {
		text, err := docs.Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the embedded documents: %w", err)
		}
		kind := "text/plain; charset=utf-8"
		if path.Ext(name) == ".md" {
			kind = contentType(".html")
			if text, err = renderDocument(text); err != nil {
				return nil, fmt.Errorf("render %s: %w", name, err)
			}
		}
		all[name] = newAsset(text, kind)
	}
	return all, nil
}

var documentPage = template.Must(template.New("document").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Dealbox</title></head><body>
{{.}}</body></html>
`))

// renderDocument leaves out raw HTML, as goldmark does by default.
func renderDocument(markdown []byte) ([]byte, error) {
	m := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	var body, page bytes.Buffer
	if err := m.Convert(markdown, &body, parser.WithContext(parser.NewContext(parser.WithIDs(headingIDs{})))); err != nil {
		return nil, err
	}
	//nolint:gosec // G203: the HTML comes from our own documents
	err := documentPage.Execute(&page, template.HTML(body.String()))
	return page.Bytes(), err
}

// headingIDs makes the anchors that GitHub makes. goldmark's own would turn
// breaker_opened into breaker-opened.
type headingIDs struct{}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// Generate implements parser.IDs.
func (headingIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	text := notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(string(value))), "")
	return []byte(strings.ReplaceAll(text, " ", "-"))
}

// Put implements parser.IDs.
func (headingIDs) Put([]byte) {}

// showDocument serves GET /docs/{name}. Alerts link to /docs/operations.md#<rule>.
func (a *API) showDocument(w http.ResponseWriter, r *http.Request) error {
	return a.send(w, r, a.documents[mux.Vars(r)["name"]])
}
