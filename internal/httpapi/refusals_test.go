package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// However many requests are refused, the log has the first one of each code at once, and
// then a line a minute with the count.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := &refusals{logger: slog.New(slog.NewJSONHandler(&out, nil)), counts: map[string]*refusedCount{}}
		lines := func() (all []map[string]any) {
			synctest.Wait()
			for line := range strings.Lines(out.String()) {
				var m map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &m))
				all = append(all, m)
			}
			out.Reset()
			return all
		}
		refuse := func(code, client string) bool { return r.first(code, client, slog.LevelInfo) }
		advance := func(d time.Duration) {
			time.Sleep(d) //nolint:forbidigo // the clock is simulated
		}

		require.True(t, refuse("signature_mismatch", "a"))
		require.True(t, refuse("signature_missing", "a"))
		for i := range 10_000 {
			require.False(t, refuse("signature_mismatch", "many"))
			require.False(t, refuse("signature_mismatch", fmt.Sprint(i%100)))
		}
		require.Empty(t, lines())
		advance(refusalWindow)
		got := lines()
		require.Len(t, got, 1)
		require.Equal(t, "INFO", got[0]["level"])
		require.Equal(t, "signature_mismatch", got[0]["code"])
		require.EqualValues(t, 20_000, got[0]["count"])
		require.Equal(t, "many: 10000, 0: 100, 1: 100, 2: 100, 3: 100", got[0]["clients"])
		require.EqualValues(t, 9_600, got[0]["from_other_clients"])

		require.False(t, refuse("signature_mismatch", "a"), "it goes on, so its next line is that of the minute")
		require.True(t, refuse("signature_missing", "a"), "its minute was quiet")
		advance(refusalWindow)
		got = lines()
		require.Len(t, got, 1)
		require.EqualValues(t, 1, got[0]["count"])
		advance(refusalWindow)
		require.Empty(t, lines())
		require.True(t, refuse("signature_mismatch", "a"))
		advance(2 * refusalWindow) // its timer ends
		require.Empty(t, r.counts)
	})
}
