package webhook

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/notify"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 5, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"120":                           2 * time.Minute,
		" 7 ":                           7 * time.Second,
		"-1":                            0,
		"1.5":                           0,
		"soon":                          0,
		"99999999999999999999":          0,
		"2147483647":                    2147483647 * time.Second,
		"Tue, 24 Nov 2026 05:01:00 GMT": time.Minute,
		"Tue, 24 Nov 2026 04:00:00 GMT": 0,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Tue, 24 Nov 2026 05:01:00 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		require.GreaterOrEqual(t, retryAfter(http.Header{"Retry-After": {value}}, time.Now()), time.Duration(0))
	})
}

func TestSlack_Links(t *testing.T) {
	t.Parallel()
	const public = "https://box.example/dealbox/"
	m := notify.Message{Reason: notify.First, URL: public + "#alert-7", Runbook: public + "docs/operations.md#breaker_opened"}
	body, err := slackBody(m)
	require.NoError(t, err)
	var slack map[string]string
	require.NoError(t, json.Unmarshal(body, &slack))
	require.Contains(t, slack["text"], "<https://box.example/dealbox/#alert-7|open Dealbox> · "+
		"<https://box.example/dealbox/docs/operations.md#breaker_opened|what to do>")
}
