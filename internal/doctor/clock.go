package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/health"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

const (
	checkClock       = "clock"
	checkStrapiClock = "strapi clock"
)

const fixClock = "Let both machines set their clocks by NTP."

func examineClock(ctx context.Context, pool *pgxpool.Pool) Finding {
	ahead, _, err := health.MeasureClock(ctx, pool)
	if err != nil {
		return failed(checkClock, err.Error(), "Check the database's log.")
	}
	return clockFinding(time.Duration(ahead))
}

func clockFinding(ahead time.Duration) Finding {
	detail := fmt.Sprintf("this machine is %s ahead of the database", ahead.Round(time.Millisecond))
	if ahead < 0 {
		detail = fmt.Sprintf("this machine is %s behind the database", ahead.Abs().Round(time.Millisecond))
	}
	switch {
	case ahead.Abs() > health.MaxWorkerClockSkew:
		return failed(checkClock, detail+": workers do not start past "+health.MaxWorkerClockSkew.String(), fixClock)
	case ahead.Abs() > health.MaxClockSkew:
		return warn(checkClock, detail, fixClock)
	}
	return ok(checkClock, detail)
}

// strapiClock compares this machine's clock with Strapi's: Dealbox refuses a signed
// webhook whose timestamp is off by more than the tolerance.
func (d doctor) strapiClock(ctx context.Context) []Finding {
	if name, isWrong := d.wrong("STRAPI_URL", "STRAPI_API_TOKEN", "STRAPI_WEBHOOK_TOLERANCE", "STRAPI_DEAL_TYPES"); isWrong {
		return []Finding{skipped(checkStrapiClock, "it needs a correct "+name+", see above")}
	}
	if !slices.ContainsFunc(d.config.Webhook.Schemes, func(s webhooksig.Scheme) bool { return s != webhooksig.SchemeStrapi }) {
		return []Finding{skipped(checkStrapiClock, "no accepted scheme has a timestamp")}
	}
	var clock answerClock
	client, err := d.strapiClient(&clock)
	if err != nil {
		return []Finding{skipped(checkStrapiClock, err.Error())}
	}
	// Any answer has the time, a refusal too.
	_ = client.CheckList(ctx, d.config.Strapi.Types[0], strapi.Query{})
	ahead, known := clock.ahead()
	if !known {
		return []Finding{skipped(checkStrapiClock, "no answer of Strapi has its time")}
	}
	return []Finding{strapiClockFinding(ahead, d.config.Webhook.Tolerance)}
}

// answerClock is a transport that reads a server's clock off its last answer.
type answerClock struct {
	mu    sync.Mutex
	off   time.Duration
	known bool
}

// RoundTrip implements http.RoundTripper.
func (c *answerClock) RoundTrip(r *http.Request) (*http.Response, error) {
	before := time.Now()
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return response, err //nolint:wrapcheck // a transport hands errors on as they are
	}
	if theirs, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		// The header has whole seconds, cut off. Round(0) leaves the monotonic clock out.
		c.off = before.Round(0).Add(time.Since(before) / 2).Sub(theirs.Add(time.Second / 2))
		c.known = true
	}
	return response, nil
}

// ahead returns how far this machine's clock is ahead of the server's (negative:
// behind), right to about a second, and whether an answer had the time.
func (c *answerClock) ahead() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off, c.known
}

func strapiClockFinding(ahead, tolerance time.Duration) Finding {
	detail := fmt.Sprintf("this machine is %s ahead of Strapi", ahead.Round(time.Second))
	if ahead < 0 {
		detail = fmt.Sprintf("this machine is %s behind Strapi", ahead.Abs().Round(time.Second))
	}
	switch off := ahead.Abs(); {
	case off > tolerance:
		return failed(checkStrapiClock, detail+fmt.Sprintf(": Dealbox refuses signed webhooks (timestamp_out_of_tolerance, over %s)", tolerance), fixClock)
	case off > tolerance/2:
		return warn(checkStrapiClock, detail+fmt.Sprintf("; from %s on Dealbox refuses signed webhooks", tolerance), fixClock)
	}
	return ok(checkStrapiClock, detail)
}
