package alerting

import (
	"math"
	"strconv"
	"time"

	"dealbox/internal/paging"
)

// FieldError names the field of a filter or of an operator's action that is wrong.
type FieldError = paging.FieldError

// cursor is a place in the list: everything after it is older.
type cursor struct {
	seen time.Time
	id   int64
}

// newest is before the first row.
var newest = cursor{seen: time.UnixMicro(maxMicros), id: math.MaxInt64}

// maxMicros is the end of the year 9999 in microseconds since 1970, which is
// how fine Postgres keeps times.
const maxMicros = 253_402_300_799_999_999

// String is opaque to clients.
func (c cursor) String() string {
	return paging.Cursor(strconv.FormatInt(c.seen.UnixMicro(), 10), strconv.FormatInt(c.id, 10))
}

// parseCursor reads what String wrote; "" is newest.
func parseCursor(s string) (cursor, error) {
	if s == "" {
		return newest, nil
	}
	seen, id, err := paging.ParseCursor(s)
	if err != nil {
		return cursor{}, err
	}
	micros, err := strconv.ParseInt(seen, 10, 64)
	if err != nil || micros < 0 || micros > maxMicros {
		return cursor{}, paging.ErrCursor
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 {
		return cursor{}, paging.ErrCursor
	}
	return cursor{seen: time.UnixMicro(micros), id: n}, nil
}
