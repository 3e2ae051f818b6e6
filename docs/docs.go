// Package docs holds the documents that a running Dealbox shows, so that an
// alert can link to what it means, in the version that is running.
package docs

import "embed"

// Files are Markdown, and what it links to.
//
//go:embed *.md *.service
var Files embed.FS
