// Package docs embeds the documents that a running Dealbox serves under /docs/, so
// that an alert can link to its explanation in the version that is running.
package docs

import "embed"

// Files are Markdown, and what it links to.
//
//go:embed *.md *.service
var Files embed.FS
