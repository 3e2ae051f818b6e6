// Package level has the levels of alerts: alerting raises with them, and notify
// compares them with the floor of each channel.
package level

import (
	"fmt"
	"strings"

	"dealbox/internal/text"
)

// Level is how bad an alert is. Levels compare as numbers: Info < Warning <
// Error < Critical. The zero value is no level.
type Level int

// The levels. Their numbers are the floors of notification channels.
const (
	Info Level = iota + 1
	Warning
	Error
	Critical
)

// All returns all of them, lowest first.
func All() []Level { return []Level{Info, Warning, Error, Critical} }

var levelNames = [...]string{Info: "info", Warning: "warning", Error: "error", Critical: "critical"}

// String returns the name that the table and the API use.
func (l Level) String() string {
	if !l.Valid() {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return levelNames[l]
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) {
	if !l.Valid() {
		return nil, fmt.Errorf("%s is no alert level", l)
	}
	return []byte(l.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) (err error) {
	*l, err = Parse(string(text))
	return err
}

// Valid reports whether it is one of the levels.
func (l Level) Valid() bool { return l >= Info && l <= Critical }

// Parse reads the name of a level in any case.
func Parse(s string) (Level, error) {
	for _, l := range All() {
		if strings.EqualFold(s, l.String()) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q is no alert level; known are info, warning, error and critical", text.Line(s, 40))
}
