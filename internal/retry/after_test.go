package retry

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		value, date string
		want        time.Duration
	}{
		"Absent":         {"", "", 0},
		"Seconds":        {"120", "", 2 * time.Minute},
		"Zero":           {"0", "", 0},
		"Capped":         {"86400", "", time.Hour},
		"OutOfRange":     {"99999999999999999999999", "", time.Hour},
		"Negative":       {"-5", "", 0},
		"Fraction":       {"1.5", "", 0},
		"Text":           {"soon", "", 0},
		"Date":           {date(90 * time.Second), "", 90 * time.Second},
		"PastDate":       {date(-time.Minute), "", 0},
		"FarDate":        {date(9000 * time.Hour), "", time.Hour},
		"ServersOwnDate": {date(time.Hour + 30*time.Second), date(time.Hour), 30 * time.Second},
		"BadServerDate":  {date(30 * time.Second), "noon", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Retry-After": {c.value}, "Date": {c.date}}
			require.Equal(t, c.want, After(h, now))
		})
	}
}

func FuzzAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "+1", "99999999999999999999", "Mon, 23 Nov 2026 21:01:00 GMT", "Monday, 23-Nov-26 21:01:00 GMT", "Mon Nov 23 21:01:00 2026", "Mon, 23 Nov 9999 21:01:00 GMT"} {
		f.Add(seed, "Mon, 23 Nov 2026 21:00:00 GMT")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		got := After(http.Header{"Retry-After": {value}, "Date": {date}}, time.Unix(1614265330, 0))
		require.GreaterOrEqual(t, got, time.Duration(0))
		require.LessOrEqual(t, got, time.Hour)
	})
}
