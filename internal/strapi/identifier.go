package strapi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsDocumentID reports whether s can be a documentId.
func IsDocumentID(s string) bool {
	return s != "" && !isDots(s) && textFault(s, maxIdentifier) == ""
}

// textFault returns what makes s unfit to be stored as a text of at most limit
// bytes, "" when nothing does. U+FFFD is what encoding/json makes of invalid
// UTF-8 and of lone surrogates.
func textFault(s string, limit int) string {
	switch {
	case len(s) > limit:
		return "is too long"
	case strings.ContainsRune(s, utf8.RuneError):
		return "is not valid Unicode"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "holds a control character"
	}
	return ""
}

// isDots reports whether id would name another place in a URL's path.
func isDots(id string) bool { return id == "." || id == ".." }
