package circuit

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"Plain":         {"connection refused", "connection refused"},
		"NUL":           {"a\x00b", "a\uFFFDb"},
		"InvalidUTF8":   {"a\xff\xfeb", "a\uFFFDb"},
		"Long":          {strings.Repeat("x", 10_000), strings.Repeat("x", 500)},
		"CutInsideRune": {strings.Repeat("x", 499) + "ü", strings.Repeat("x", 499)},
		"Exact":         {strings.Repeat("ü", 250), strings.Repeat("ü", 250)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, clean(c.in))
		})
	}
}

func TestClean_AnythingIsStorable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Repeat(string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")), rapid.IntRange(1, 9).Draw(t, "times"))
		out := clean(in)
		if !utf8.ValidString(out) || len(out) > maxText || strings.ContainsRune(out, 0) {
			t.Fatalf("clean(%q) = %q", in, out)
		}
	})
}
