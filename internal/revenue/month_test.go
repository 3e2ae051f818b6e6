package revenue

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseMonth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Month{
		"2026-01":    NewMonth(2026, time.January),
		"2026-12":    NewMonth(2026, time.December),
		"2026-12-31": NewMonth(2026, time.December),
		"0001-01":    NewMonth(1, time.January),
		"9999-12":    NewMonth(9999, time.December),
	} {
		got, err := ParseMonth(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
		require.Equal(t, text[:7]+"-01", got.String())
	}
	for _, text := range []string{
		"", "2026", "2026-00", "2026-13", "2026-1", "2026-02-30", "2026-01-1", "26-01", "0000-01", " 2026-01", "2026-01 ", "2026-01-01T00:00:00Z", "+2026-01",
	} {
		_, err := ParseMonth(text)
		require.ErrorContains(t, err, "YYYY-MM", text)
	}
}

func TestMonth(t *testing.T) {
	t.Parallel()
	december := NewMonth(2026, time.December)
	require.Equal(t, "2027-01-01", (december + 1).String(), "January follows December")
	require.Equal(t, "2025-12-01", (december - 12).String())
	require.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), december.Start())
	require.Equal(t, december, MonthOf(december.Start()))

	text, err := json.Marshal(december)
	require.NoError(t, err)
	require.JSONEq(t, `"2026-12-01"`, string(text))
}
