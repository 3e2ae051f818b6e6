// Package text cleans text that comes from outside before it is shown or stored.
package text

import (
	"fmt"
	"strings"
	"time"
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

// Count returns a number with the noun that goes with it, such as "1 byte" or "5 bytes".
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Span returns a duration in words of at most two units: "31 s", "4 min 10 s",
// "3 h 2 min", "2 d 4 h".
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Second:
		return "less than 1 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return units(d, time.Minute, "min", time.Second, "s")
	case d < 24*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "min")
	}
	return units(d, 24*time.Hour, "d", time.Hour, "h")
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return s
}
