package alerting

import (
	"fmt"
)

// Status is where an episode stands.
type Status string

// The statuses.
const (
	Firing       Status = "firing"
	Acknowledged Status = "acknowledged"
	Resolved     Status = "resolved"
	Suppressed   Status = "suppressed"
)

// ParseStatus reads a status.
func ParseStatus(s string) (Status, error) {
	for _, known := range Statuses() {
		if s == string(known) {
			return known, nil
		}
	}
	return "", fmt.Errorf("%q is no alert status; known are firing, acknowledged, resolved and suppressed", clip(s))
}

// Statuses lists all of them.
func Statuses() []Status { return []Status{Firing, Acknowledged, Resolved, Suppressed} }
