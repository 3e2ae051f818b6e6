package circuit

import (
	"errors"

	"dealbox/internal/text"
)

// maxText bounds what one error may take in the row, the history and the log. Errors
// quote what a remote side sent, so they can hold anything.
const maxText = 500 // bytes

// causeText returns a cause in words for people where it has them, as an error of
// Strapi's client does.
func causeText(cause error) string {
	if cause == nil {
		return "no cause was given"
	}
	var worded interface{ InWords() string }
	if errors.As(cause, &worded) {
		return text.Line(worded.InWords(), maxText)
	}
	return text.Line(cause.Error(), maxText)
}
