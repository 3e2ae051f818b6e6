package alerting

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocuments(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{1: "1 document", 2: "2 documents", 999: "999 documents", 5000: "5,000 documents", 1234567: "1,234,567 documents"} {
		require.Equal(t, want, documents(n))
	}
}

func TestForecastSwing_Numbers(t *testing.T) {
	t.Parallel()
	require.Contains(t, ForecastSwing("THB", "1234567.50", "0.00", "-93.5"), "The forecast is 1,234,567.50 THB now and was 0.00 THB an hour ago: -93.5 %")
	require.Contains(t, ForecastSwing("EUR", "-1234.00", "999.00", "12.0"), "-1,234.00 EUR now and was 999.00 EUR an hour ago: +12.0 %")
	require.Equal(t, "-123.00", grouped("-123.00"))
}

func TestWebhooksWaited(t *testing.T) {
	t.Parallel()
	require.Equal(t, "no webhook waits", webhooksWaited(0))
	require.Equal(t, "1 webhook waited and is being processed now, it is not lost", webhooksWaited(1))
	require.Equal(t, "1,044 webhooks waited and are being processed now, none is lost", webhooksWaited(1044))
}
