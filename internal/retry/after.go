package retry

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAfter bounds what a server can make us wait.
const maxAfter = time.Hour

// After returns how long the Retry-After header of an answer asks to wait: between
// 0 and an hour. RFC 9110 §10.2.3 allows seconds or an HTTP date; absent,
// unreadable and past are 0. A date is compared with the answer's own Date, where
// it has one, since the server's clock may differ from now.
func After(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	// A number out of range comes back as the largest one.
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxAfter)
}
