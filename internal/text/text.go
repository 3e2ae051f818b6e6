// Package text cleans text that comes from outside before it is shown or stored.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const ellipsis = "…"

// Line returns a text from outside safe to show and to store: valid UTF-8 on one
// line without NUL or other control characters, and without the marks that turn
// the reading direction around. A run of control characters becomes one space.
// The result has at most limit bytes; what was cut ends with "…".
func Line(s string, limit int) string {
	var b strings.Builder
	gap := false
	for _, r := range s {
		if breaksLine(r) {
			gap = true
			continue
		}
		if unicode.Is(unicode.Bidi_Control, r) || r == '\ufeff' {
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r) // An invalid byte reads as U+FFFD.
		if b.Len() > limit {
			return cut(b.String(), limit)
		}
	}
	return strings.TrimSpace(b.String())
}

func breaksLine(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// cut shortens valid UTF-8 between two characters, so that it fits with its ellipsis.
func cut(s string, limit int) string {
	end := max(limit-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimSpace(s[:end]) + ellipsis
}
