package strapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// capture is one delivery of a real Strapi 5.54.0, as it was received.
type capture struct {
	Headers   map[string]string `json:"headers"`
	BodyBytes int               `json:"body_bytes"`
	BodyRaw   string            `json:"body_raw"`
}

func readCapture(t testing.TB, name string) capture {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "captures", name))
	require.NoError(t, err)
	var c capture
	require.NoError(t, json.Unmarshal(data, &c))
	require.Len(t, c.BodyRaw, c.BodyBytes)
	return c
}

func captureNames(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "captures", "*.json"))
	require.NoError(t, err)
	require.Len(t, paths, 47)
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

// Every captured delivery is read as encoding/json reads it.
func TestParseEnvelope_Captures(t *testing.T) {
	t.Parallel()
	for _, name := range captureNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := readCapture(t, name)
			var want struct {
				Event, UID, Model string
				CreatedAt         time.Time
				Entry             struct{ DocumentID string }
			}
			require.NoError(t, json.Unmarshal([]byte(c.BodyRaw), &want))

			got, err := ParseEnvelope([]byte(c.BodyRaw))

			require.NoError(t, err)
			require.Equal(t, c.Headers["x-strapi-event"], got.Event)
			require.Equal(t, want.Event, got.Event)
			require.Equal(t, want.UID, got.UID)
			require.Equal(t, want.Model, got.Model)
			require.Equal(t, want.Entry.DocumentID, got.DocumentID)
			require.Empty(t, got.Locale)
			require.Equal(t, want.CreatedAt, *got.SentAt)
			require.Equal(t, strings.HasPrefix(got.Event, "entry."), got.IsEntry())
			require.Equal(t, got.IsEntry(), got.DocumentID != "" && got.UID != "" && got.Model != "")
		})
	}
}
