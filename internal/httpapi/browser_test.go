package httpapi_test

import (
	"context"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
)

// The page in a real browser: it shows what the API says, a name from Strapi
// stays text, and it says so when Dealbox is away.
func TestDashboard_Browser(t *testing.T) {
	t.Parallel()
	ctx := chromium(t)
	h := open(t)
	name := `</script><svg onload=alert(1)><img src=x onerror=alert(1)>`
	h.raise(alerting.Alert{Rule: "r", Subject: name, Level: alerting.Error, Message: name})
	require.Equal(t, 202, h.do(h.delivery(dealEvent("entry.update", "doc1"))).StatusCode)

	var alarms atomic.Int32 // a dialog, a script that failed, something that the policy blocked
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *page.EventJavascriptDialogOpening, *runtime.EventExceptionThrown:
			alarms.Add(1)
		case *log.EventEntryAdded:
			if e.Entry.Source == log.EntrySourceSecurity {
				alarms.Add(1)
			}
		}
	}))
	look(ctx, t, chromedp.Navigate(h.url))
	look(ctx, t, chromedp.WaitVisible(chromedp.CSS("#banner[data-state=healthy]")))
	look(ctx, t, chromedp.WaitVisible(chromedp.CSS("#alerts .message")))
	require.Equal(t, "Everything works, on both sides", look(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-title"))))
	require.Contains(t, look(ctx, t, chromedp.TextContent(chromedp.CSS("#ledger-note"))), "1 = 1: it adds up")
	require.Equal(t, name, look(ctx, t, chromedp.TextContent(chromedp.CSS("#alerts .message"))))
	require.Zero(t, look(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("#alerts svg, #alerts img, #alerts script").length`)))
	require.Equal(t, 12, look(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("#chart .column").length`)))

	h.stop()
	look(ctx, t, chromedp.WaitVisible(chromedp.CSS("#banner[data-state=unhealthy]")))
	require.Equal(t, "Dealbox does not answer", look(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-title"))))
	require.Zero(t, alarms.Load())
}

// look runs one action and is its result.
func look[T any](ctx context.Context, t *testing.T, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	require.NoError(t, err)
	return v
}

// chromium starts a headless browser that ends with the test. Without one on
// this machine the test is skipped.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium in PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(2*time.Minute), // the default of 20 s is short on a busy machine
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}
