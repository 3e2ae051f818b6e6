package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/webhooksig"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	checkStrapiClock = "strapi clock"
	checkWebhooks    = "webhooks"
)

// strapiClock compares this machine's clock with Strapi's: a signed webhook
// whose timestamp is off by more than the tolerance is refused.
func (d doctor) strapiClock(ctx context.Context) []finding {
	if name, isWrong := d.wrong("STRAPI_URL", "STRAPI_WEBHOOK_TOLERANCE", "STRAPI_DEAL_TYPES"); isWrong {
		return []finding{skipped(checkStrapiClock, name+" is wrong")}
	}
	if !slices.ContainsFunc(d.config.Webhook.Schemes, func(s webhooksig.Scheme) bool { return s != webhooksig.SchemeStrapi }) {
		return []finding{skipped(checkStrapiClock, "no accepted scheme has a timestamp")}
	}
	ahead, err := aheadOfStrapi(ctx, d.config.Strapi)
	if err != nil {
		return []finding{skipped(checkStrapiClock, "Strapi does not tell its time")}
	}
	return []finding{judgeStrapiClock(ahead, d.config.Webhook.Tolerance)}
}

// aheadOfStrapi is how far this machine's clock is ahead of the Date header of
// any answer, a refusal too. It is right to about a second.
func aheadOfStrapi(ctx context.Context, s app.StrapiConfig) (time.Duration, error) {
	base := strings.TrimSuffix(strings.TrimRight(s.URL, "/"), "/api") + "/api/"
	ctx, cancel := context.WithTimeout(ctx, min(s.Timeout, examineTimeout/3))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+url.PathEscape(s.Types[0].Plural)+"?pagination[pageSize]=1", nil)
	if err != nil {
		return 0, fmt.Errorf("ask Strapi for its time: %w", err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	before := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask Strapi for its time: %w", err)
	}
	_ = response.Body.Close()
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("read Strapi's time: %w", err)
	}
	// The header has whole seconds, cut off.
	return before.Round(0).Add(time.Since(before) / 2).Sub(theirs.Add(time.Second / 2)), nil
}

func judgeStrapiClock(ahead, tolerance time.Duration) finding {
	const fix = "Let both machines set their clocks by NTP."
	detail := fmt.Sprintf("this machine is %s ahead of Strapi", ahead.Round(time.Second))
	if ahead < 0 {
		detail = fmt.Sprintf("this machine is %s behind Strapi", ahead.Abs().Round(time.Second))
	}
	switch off := ahead.Abs(); {
	case off > tolerance:
		return failed(checkStrapiClock, detail+fmt.Sprintf(": signed webhooks are refused (timestamp_out_of_tolerance, over %s)", tolerance), fix)
	case off > tolerance/2:
		return warn(checkStrapiClock, detail+fmt.Sprintf("; from %s on signed webhooks are refused", tolerance), fix)
	}
	return ok(checkStrapiClock, detail)
}

// examineWebhooks tells the last delivery: the proof that Strapi reaches Dealbox.
func examineWebhooks(ctx context.Context, pool *pgxpool.Pool) finding {
	var age time.Duration
	var scheme string
	err := pool.QueryRow(ctx, "SELECT now() - received_at, scheme FROM inbox_event ORDER BY received_on DESC, id DESC LIMIT 1").Scan(&age, &scheme)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ok(checkWebhooks, "none has arrived yet; 'Trigger' in Strapi's webhook settings sends one")
	case err != nil:
		return skipped(checkWebhooks, "the schema is behind, or the role may not read inbox_event")
	}
	return ok(checkWebhooks, fmt.Sprintf("the last one arrived %s ago, proved by scheme %s", age.Round(time.Second), scheme))
}
