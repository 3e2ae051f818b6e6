package alerting

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/paging"
)

// FieldError names the field of a filter or of an operator's action that is wrong.
type FieldError = paging.FieldError

// position is a place in the list: everything after it is older.
type position struct {
	seen time.Time
	id   int64
}

// newest is before the first row.
var newest = position{seen: time.UnixMicro(maxMicros), id: math.MaxInt64}

// maxMicros is the end of the year 9999 in microseconds since 1970, which is
// how fine Postgres keeps times.
const maxMicros = 253_402_300_799_999_999

// cursor is the text of a position. It is opaque to clients.
func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d", p.seen.UnixMicro(), p.id))
}

// parseCursor reads what cursor wrote; "" is the newest position.
func parseCursor(s string) (position, error) {
	if s == "" {
		return newest, nil
	}
	broken := &FieldError{Field: "cursor", Problem: "it is not one that this list gave out; leave it out to start at the newest"}
	text, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return position{}, broken
	}
	seen, id, _ := strings.Cut(string(text), ".")
	micros, err := strconv.ParseInt(seen, 10, 64)
	if err != nil || micros < 0 || micros > maxMicros {
		return position{}, broken
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 {
		return position{}, broken
	}
	return position{seen: time.UnixMicro(micros), id: n}, nil
}
