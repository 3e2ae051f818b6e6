package main

import (
	"fmt"
	"log/slog"
)

// secret is a setting that no output may show. However it is printed, logged or
// marshalled it comes out as ***; only reveal gives the value. It must not be the
// key of a map: encoding/json writes keys of string types as they are.
type secret string

const redacted = "***"

// reveal gives the value, for the one place that needs it.
func (s secret) reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter, so that no verb (%q, %x, %#v) shows the value.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON implements json.Marshaler.
func (s secret) MarshalJSON() ([]byte, error) { //nolint:unparam // json.Marshaler
	return []byte(`"` + s.String() + `"`), nil
}
