package app

import (
	"fmt"
	"log/slog"
)

// Secret is a setting that no output may show. However it is printed, logged or
// marshalled it comes out as ***; only reveal gives the value. It must not be the
// key of a map: encoding/json writes keys of string types as they are.
type Secret string

const redacted = "***"

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// Format implements fmt.Formatter, so that no verb (%q, %x, %#v) shows the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) {
	return []byte(`"` + s.String() + `"`), nil
}

// String implements fmt.Stringer.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}
