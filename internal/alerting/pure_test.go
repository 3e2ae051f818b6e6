package alerting

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for _, want := range Statuses() {
		got, err := ParseStatus(string(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ParseStatus("open")
	require.Error(t, err)
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	require.Equal(t, "v1:clock_skew:host-1", fingerprint(RuleClockSkew, "host-1"))
	require.Equal(t, "v1:strapi_token_refused:", fingerprint(RuleStrapiTokenRefused, ""))
	long := strings.Repeat("x", 9000)
	require.LessOrEqual(t, len(fingerprint("r", long)), 310)
	require.NotEqual(t, fingerprint("r", long+"1"), fingerprint("r", long+"2"), "a hash of what was cut keeps them different")
	require.NotEqual(t, fingerprint("r", "a\nb"), fingerprint("r", "a b"))
	require.NotEqual(t, fingerprint("r", "a\nb"), fingerprint("r", "a\rb"))
}

func TestCursor_RoundTrip(t *testing.T) {
	t.Parallel()
	want := cursor{seen: time.Date(2026, 11, 24, 5, 0, 0, 123456000, time.UTC), id: 42}
	got, err := parseCursor(want.String())
	require.NoError(t, err)
	require.True(t, want.seen.Equal(got.seen))
	require.Equal(t, want.id, got.id)
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{seen: time.UnixMicro(1), id: 1}.String())
	f.Add("MS4x")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		var wrong *FieldError
		if err != nil {
			require.ErrorAs(t, err, &wrong)
			return
		}
		again, err := parseCursor(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func FuzzDetails(f *testing.F) {
	f.Add("key", []byte(`{"a":[1,"x\u0000",1e400000]}`))
	f.Add("k\x00", []byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		got := encodeDetails(map[string]any{key: json.RawMessage(value), "text": string(value)})
		require.LessOrEqual(t, len(got), maxDetails+100)
		var object map[string]any
		require.NoError(t, json.Unmarshal(got, &object))
		require.NotContains(t, fmt.Sprint(object), "\x00")
	})
}
