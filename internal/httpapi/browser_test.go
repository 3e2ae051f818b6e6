package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// The page in a real browser: it shows what the API returns, a name from Strapi
// stays text, and the page reports when Dealbox does not answer.
func TestDashboard_Browser(t *testing.T) {
	t.Parallel()
	ctx := chromium(t)
	h := open(t)
	name := `</script><svg onload=alert(1)><img src=x onerror=alert(1)>`
	h.raise(alerting.Alert{Rule: "r", Subject: name, Level: level.Error, Message: name})
	require.Equal(t, 202, h.do(h.delivery(dealEvent("entry.update", "doc1"))).StatusCode)

	violations := violationsOf(ctx, t)
	run(ctx, t, chromedp.Navigate(h.url))
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#banner[data-state=degraded]")))
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#alerts .message")))
	require.Equal(t, "R ("+name+")", run(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-title"))), "an open error is the headline")
	require.Contains(t, run(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-text"))), name)
	require.Contains(t, run(ctx, t, chromedp.TextContent(chromedp.CSS("#ledger-note"))), "1 = 1: it adds up")
	require.Equal(t, name, run(ctx, t, chromedp.TextContent(chromedp.CSS("#alerts .message"))))
	require.Zero(t, run(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("#alerts svg, #alerts img, #alerts script").length`)))
	require.Equal(t, 12, run(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("#chart .column").length`)))

	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now()")
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#banner[data-state=healthy]")))
	require.Equal(t, "Everything works, on both sides", run(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-title"))))

	h.stop()
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#banner[data-state=unhealthy]")))
	require.Equal(t, "Dealbox does not answer", run(ctx, t, chromedp.TextContent(chromedp.CSS("#banner-title"))))
	require.Zero(t, violations.Load())
}

// The address in a notification shows its alert, also one that the list has no
// room for, with its history and notifications. The page is behind a base path.
func TestDashboard_AlertOfAddress(t *testing.T) {
	t.Parallel()
	ctx := chromium(t)
	h := open(t)
	name := `</td><img src=x onerror=alert(1)>`
	h.raise(alerting.Alert{Rule: "r", Subject: "the first", Level: level.Error, Message: name})
	for i := range 10 {
		h.raise(alerting.Alert{Rule: "r", Subject: strconv.Itoa(i), Level: level.Error, Message: "another"})
	}
	h.MustExec(`INSERT INTO notification (alert_id, channel, reason, sequence, status, attempts, failed_at, last_error)
		VALUES (1, 'webhook', 'first', 1, 'failed', 7, now(), $1)`, name)
	proxy := httptest.NewServer(http.StripPrefix("/dealbox", h.api.Handler()))
	t.Cleanup(proxy.Close)
	violations := violationsOf(ctx, t)
	text := func(selector string) string { return run(ctx, t, chromedp.TextContent(chromedp.CSS(selector))) }
	count := func(selector string) int {
		return run(ctx, t, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
	}
	// By script: the page may move between finding a place and clicking there.
	click := func(selector string) {
		run(ctx, t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).click()", selector)))
	}

	run(ctx, t, chromedp.Navigate(proxy.URL+"/dealbox/#alert-1"))
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#detail #alert-1")))
	require.Equal(t, "Alert 1", text("#detail-title"))
	require.Equal(t, name, text("#alert-1 .message"))
	require.Contains(t, text("#detail [aria-label=History]"), "raised")
	require.Contains(t, text("#detail [aria-label=Notifications]"), "webhookfirst7failed–"+name)
	require.Zero(t, count("#detail img"))
	require.Equal(t, 10, count("#alerts li"))
	require.Zero(t, count(`#alerts a[href="#alert-1"]`), "it is not in the list")

	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now() WHERE id = 1")
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#alert-1[data-status=resolved]")))

	run(ctx, t, chromedp.Evaluate[string](`location.hash = "#alert-12345"`))
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#detail .empty")))
	require.Equal(t, "Alert 12345", text("#detail-title"))
	require.Contains(t, text("#detail-body"), "there is no alert with this id")

	click(`#alerts a[href="#alert-11"]`)
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS("#detail #alert-11")))
	require.Equal(t, "another", text("#alert-11 .message"))
	require.Contains(t, text("#detail-body"), "Notificationsnone")
	click("#detail h2 a")
	run(ctx, t, chromedp.WaitNotVisible(chromedp.CSS("#detail")))
	require.Zero(t, violations.Load())
}

// violationsOf counts dialogs, scripts that failed, and what the policy blocked.
func violationsOf(ctx context.Context, t *testing.T) *atomic.Int32 {
	t.Helper()
	var violations atomic.Int32
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *page.EventJavascriptDialogOpening, *runtime.EventExceptionThrown:
			violations.Add(1)
		case *log.EventEntryAdded:
			if e.Entry.Source == log.EntrySourceSecurity {
				violations.Add(1)
			}
		}
	}))
	return &violations
}

// run returns the result of one action.
func run[T any](ctx context.Context, t *testing.T, action chromedp.Action[T]) T {
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
