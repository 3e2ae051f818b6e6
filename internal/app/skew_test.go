package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
)

// Over 30 s no worker starts, so nothing is processed: that is more than a warning.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]alerting.Level{
		3 * time.Second: alerting.Warning, 30 * time.Second: alerting.Warning,
		31 * time.Second: alerting.Critical, -time.Hour: alerting.Critical,
	} {
		require.Equal(t, want, clockSkew("host-1", ahead).Level, ahead)
	}
}
