package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNewLogger_OneLineARecord(t *testing.T) {
	t.Parallel()
	const forged = "deal\n{\"level\":\"error\",\"msg\":\"forged\"}"
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		NewLogger(&out, LogConfig{Format: format}).Info(forged, "name", forged)
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), out.String())
	}
}

func TestNewLogger_JSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := NewLogger(&out, LogConfig{Level: slog.LevelWarn})
	logger.Info("below the level")
	require.Empty(t, out.String())
	logger.Warn("logged", "time", "not the record's own")
	var record map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &record), "json unless it is a terminal")
	require.Equal(t, "WARN", record["level"])
}

func TestUTCTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 7, 0, 0, 0, time.FixedZone("Bangkok", 7*3600))
	require.Equal(t, "2026-11-24T00:00:00Z", utcTime(nil, slog.Time(slog.TimeKey, at)).Value.Time().Format(time.RFC3339))
	grouped := slog.Time(slog.TimeKey, at)
	require.Equal(t, grouped, utcTime([]string{"deal"}, grouped), "only the record's own time")
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	require.False(t, IsTerminal(&bytes.Buffer{}))
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	require.False(t, IsTerminal(file))
}
