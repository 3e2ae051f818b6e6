package strapi

import (
	"strings"
	"unicode"
)

// isIdentifier holds for what a webhook's documentId must be too.
func isIdentifier(s string) bool {
	return s != "" && len(s) <= maxIdentifier && !isDots(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isDots is true for the names that mean another place in a URL's path.
func isDots(id string) bool { return id == "." || id == ".." }
