package revenue

import (
	"fmt"
	"time"
)

// Month is a calendar month: year*12 + month, with January as 1. The zero value
// means that no month is given.
type Month int32

// MonthOf is the month in which t lies, in t's own location.
func MonthOf(t time.Time) Month {
	return NewMonth(t.Year(), t.Month())
}

// NewMonth is the given month of the given year.
func NewMonth(year int, month time.Month) Month {
	return Month(year*12 + int(month))
}

// ParseMonth reads YYYY-MM, or YYYY-MM-DD of which it drops the day.
func ParseMonth(text string) (Month, error) {
	for _, layout := range []string{"2006-01", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 {
			return MonthOf(t), nil
		}
	}
	return 0, fmt.Errorf("%q is not a month: write YYYY-MM or YYYY-MM-DD", text)
}

// Start is the first day of the month, at midnight UTC.
func (m Month) Start() time.Time {
	return time.Date(0, time.Month(m), 1, 0, 0, 0, 0, time.UTC)
}

// String is the first day of the month as YYYY-MM-DD: how the API writes months.
func (m Month) String() string { return m.Start().Format(time.DateOnly) }

// MarshalText implements encoding.TextMarshaler: the month in JSON is what String says.
func (m Month) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
