package circuit

import (
	"strings"
	"unicode/utf8"
)

// maxText bounds what one error may take in the row, the history and the log.
const maxText = 500 // bytes

// clean makes s a text that Postgres stores: valid UTF-8, no NUL, at most
// maxText bytes. Errors quote what a remote side sent, so they can hold anything.
func clean(s string) string {
	// Cut first, so that a huge error is not copied whole.
	s = s[:min(len(s), maxText+utf8.UTFMax)]
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func causeText(cause error) string {
	if cause == nil {
		return "no cause was given"
	}
	return clean(cause.Error())
}
