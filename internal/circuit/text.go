package circuit

import "dealbox/internal/text"

// maxText bounds what one error may take in the row, the history and the log. Errors
// quote what a remote side sent, so they can hold anything.
const maxText = 500 // bytes

func causeText(cause error) string {
	if cause == nil {
		return "no cause was given"
	}
	return text.Line(cause.Error(), maxText)
}
