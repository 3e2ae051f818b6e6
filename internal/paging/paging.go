// Package paging has what lists share: opaque cursors, and the error for a field of
// a filter that cannot be used.
package paging

import (
	"encoding/base64"
	"strings"
	"time"
)

// FieldError names the field of a filter or of an operator's action that is wrong.
// It is the caller's mistake, so its text is for the caller.
type FieldError struct {
	Field   string
	Problem string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// ErrCursor is the error for a cursor that the list did not return.
var ErrCursor = &FieldError{Field: "cursor", Problem: "it is not one that this list returned; leave it out to start at the newest"}

const separator = "."

// Cursor returns the text of a place in a list that is sorted by two keys. It is
// opaque to clients. The first key must not contain a dot.
func Cursor(first, second string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(first + separator + second))
}

// ParseCursor returns the keys that Cursor was made of, else ErrCursor.
func ParseCursor(cursor string) (first, second string, err error) {
	keys, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return "", "", ErrCursor
	}
	first, second, found := strings.Cut(string(keys), separator)
	if !found {
		return "", "", ErrCursor
	}
	return first, second, nil
}

// CheckSpan returns a *FieldError when since is after until; a zero value bounds nothing.
func CheckSpan(since, until time.Time) error {
	if since.IsZero() || until.IsZero() || !since.After(until) {
		return nil
	}
	return &FieldError{Field: "since", Problem: "it is after until"}
}
