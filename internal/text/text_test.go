package text

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a deal", "a deal"},
		{"  kept  inside ", "kept  inside"},
		{"two\nlines", "two lines"},
		{"a\r\n\x00\t\x7f\u0085b", "a b"},
		{"\nedges\n", "edges"},
		{"\xff\xc3(", "\ufffd\ufffd("},
		{"\xed\xa0\x80", "\ufffd\ufffd\ufffd"}, // A lone surrogate.
		{"a\u2028b\u2029c", "a b c"},
		{"\u202etxt.exe\u2066", "txt.exe"},
		{"\ufeffbom", "bom"},
		{"ราคา 💰 ok", "ราคา 💰 ok"},
		{strings.Repeat("x", 21), strings.Repeat("x", 17) + "…"},
		{strings.Repeat("x", 20), strings.Repeat("x", 20)},
		{strings.Repeat("ร", 10), strings.Repeat("ร", 5) + "…"},
	} {
		if c.in == "ราคา 💰 ok" {
			require.Equal(t, c.want, Line(c.in, 100))
			continue
		}
		require.Equal(t, c.want, Line(c.in, 20), "%q", c.in)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x00\xff\u202e", 10)
	f.Add(strings.Repeat("ร", 100), 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 3 + limit&1023
		got := Line(s, limit)
		require.LessOrEqual(t, len(got), limit)
		require.True(t, utf8.ValidString(got))
		require.NotContains(t, got, "\x00")
		require.Equal(t, -1, strings.IndexFunc(got, unicode.IsControl))
		require.Equal(t, got, Line(got, limit), "a safe line stays as it is")
	})
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "less than 1 s", 400 * time.Millisecond: "less than 1 s", 31 * time.Second: "31 s", 59600 * time.Millisecond: "1 min",
		4*time.Minute + 10*time.Second: "4 min 10 s", time.Hour: "1 h", 3*time.Hour + 2*time.Minute + 59*time.Second: "3 h 2 min",
		52*time.Hour + time.Minute: "2 d 4 h",
	} {
		require.Equal(t, want, Span(d))
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1 byte", Count(1, "byte", "bytes"))
	require.Equal(t, "0 bytes", Count(0, "byte", "bytes"))
	require.Equal(t, "-2 bytes", Count(-2, "byte", "bytes"))
}
