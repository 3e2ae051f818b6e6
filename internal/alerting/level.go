package alerting

import (
	"fmt"
	"strings"
)

// Level says how bad an alert is. Levels compare as numbers: Info < Warning <
// Error < Critical. The zero value is no level.
type Level int

// The levels. Their numbers are the floors of notification channels.
const (
	Info Level = iota + 1
	Warning
	Error
	Critical
)

// Levels lists all of them, lowest first.
func Levels() []Level { return []Level{Info, Warning, Error, Critical} }

var levelNames = [...]string{Info: "info", Warning: "warning", Error: "error", Critical: "critical"}

// String is the name that the table and the API use.
func (l Level) String() string {
	if !l.valid() {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return levelNames[l]
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) {
	if !l.valid() {
		return nil, fmt.Errorf("%s is no alert level", l)
	}
	return []byte(l.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLevel(string(text))
	return err
}

func (l Level) valid() bool { return l >= Info && l <= Critical }

// ParseLevel reads the name of a level in any case.
func ParseLevel(s string) (Level, error) {
	for _, l := range Levels() {
		if strings.EqualFold(s, l.String()) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q is no alert level; known are info, warning, error and critical", clip(s))
}

// Status is where an episode stands.
type Status string

// The statuses.
const (
	Firing       Status = "firing"
	Acknowledged Status = "acknowledged"
	Resolved     Status = "resolved"
	Suppressed   Status = "suppressed"
)

// Statuses lists all of them.
func Statuses() []Status { return []Status{Firing, Acknowledged, Resolved, Suppressed} }

// ParseStatus reads a status.
func ParseStatus(s string) (Status, error) {
	for _, known := range Statuses() {
		if s == string(known) {
			return known, nil
		}
	}
	return "", fmt.Errorf("%q is no alert status; known are firing, acknowledged, resolved and suppressed", clip(s))
}
