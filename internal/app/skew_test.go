package app

import (
	"testing"
	"time"

	"dealbox/internal/level"

	"github.com/stretchr/testify/require"
)

// Over 30 s no worker starts, so nothing is processed: that is more than a warning.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]level.Level{
		3 * time.Second: level.Warning, 30 * time.Second: level.Warning,
		31 * time.Second: level.Critical, -time.Hour: level.Critical,
	} {
		require.Equal(t, want, clockSkew("host-1", ahead).Level, ahead)
	}
}
