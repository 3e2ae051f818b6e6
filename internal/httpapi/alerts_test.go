package httpapi_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

func TestAlerts_Empty(t *testing.T) {
	t.Parallel()
	got := open(t).get("/api/v1/alerts")
	require.Equal(t, 200, got.StatusCode)
	require.JSONEq(t, `{"alerts":[],"summary":{"total":0,"by_level":{"info":0,"warning":0,"error":0,"critical":0},
		"by_status":{"firing":0,"acknowledged":0,"resolved":0,"suppressed":0},"recent":[]},"next_cursor":null}`, string(got.body))
}

func TestAlerts_List(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.raise(alerting.Alert{Rule: "one", Level: level.Warning, Message: "first", Details: map[string]any{"n": 1}})
	h.raise(alerting.Alert{Rule: "two", Subject: "s", Level: level.Critical, Message: "second"})
	h.raise(alerting.Alert{Rule: "one", Level: level.Warning, Message: "first again"})

	tree := h.get("/api/v1/alerts").json(t)
	alerts := tree["alerts"].([]any)
	require.Len(t, alerts, 2)
	newest := alerts[0].(map[string]any)
	require.Equal(t, "one", newest["rule"])
	require.Equal(t, "first again", newest["message"])
	require.Equal(t, json.Number("2"), newest["occurrences"])
	require.Equal(t, newest["last_seen"], newest["timestamp"])
	require.IsType(t, "", newest["id"], "all ids are strings")
	require.Nil(t, newest["resolved_at"])
	require.IsType(t, map[string]any{}, newest["details"])
	for _, field := range []string{"timestamp", "first_seen", "last_seen"} {
		at, err := time.Parse(time.RFC3339, newest[field].(string))
		require.NoError(t, err)
		require.Equal(t, time.UTC, at.Location())
	}
	require.Equal(t, json.Number("2"), at(t, tree, "summary", "total"))
	require.Equal(t, json.Number("1"), at(t, tree, "summary", "by_level", "critical"))
	require.Equal(t, json.Number("2"), at(t, tree, "summary", "by_status", "firing"))
	require.Equal(t, alerts, at(t, tree, "summary", "recent"))
}

func TestAlerts_Filters(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.raise(alerting.Alert{Rule: "a", Level: level.Info, Message: "m"})
	h.raise(alerting.Alert{Rule: "b", Level: level.Warning, Message: "m"})
	h.raise(alerting.Alert{Rule: "c", Level: level.Critical, Message: "m"})
	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now() WHERE rule = 'a'")
	h.MustExec("UPDATE alert SET last_seen = '2020-01-01T12:00:00Z' WHERE rule = 'b'")
	for query, rules := range map[string]string{
		"":                                  "c a b",
		"level=WARNING":                     "b",
		"level=info,critical":               "c a",
		"level=info&level=critical":         "c a",
		"min_level=Warning":                 "c b",
		"status=firing":                     "c b",
		"status=resolved,acknowledged":      "a",
		"rule=b":                            "b",
		"rule=lost_webhooks":                "",
		"since=2021-01-01":                  "c a",
		"until=2020-01-01T19:00:01%2B07:00": "b",
		"until=2020-01-01T12:00:00Z":        "",
		"limit=1":                           "c",
		"limit=1000&level=&cursor=&since=":  "c a b",
		"_=cache-buster":                    "c a b",
	} {
		got := h.get("/api/v1/alerts?" + query)
		require.Equal(t, 200, got.StatusCode, string(got.body))
		require.Equal(t, rules, strings.Join(rulesOf(got.json(t)), " "), query)
		require.Equal(t, json.Number("3"), at(t, got.json(t), "summary", "total"), "whatever the filters")
	}
}

func rulesOf(tree map[string]any) []string {
	var rules []string
	for _, a := range tree["alerts"].([]any) {
		rules = append(rules, a.(map[string]any)["rule"].(string))
	}
	return rules
}

func TestAlerts_Pages(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, rule := range []string{"a", "b", "c", "d", "e"} {
		h.raise(alerting.Alert{Rule: rule, Level: level.Error, Message: "m"})
	}
	var all []string
	cursor := ""
	for range 3 {
		tree := h.get("/api/v1/alerts?limit=2&cursor=" + url.QueryEscape(cursor)).json(t)
		all = append(all, rulesOf(tree)...)
		cursor, _ = tree["next_cursor"].(string)
	}
	require.Equal(t, []string{"e", "d", "c", "b", "a"}, all)
	require.Empty(t, cursor)
}

func TestAlerts_InvalidParameter(t *testing.T) {
	t.Parallel()
	h := open(t)
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=x": "limit", "limit=1.5": "limit", "limit=1&limit=2": "limit",
		"level=loud": "level", "level=error,loud": "level", "min_level=loud": "min_level", "min_level=info,error": "min_level",
		"status=open": "status", "since=yesterday": "since", "until=2026-13-01": "until", "cursor=%21": "cursor", "cursor=MQ": "cursor",
		"rule=%00": "rule", "rule=unknown": "rule", "limit=%zz": "query", "since=2026-01-02&until=2026-01-01": "since", "sience=2026-01-01": "sience", "since=2026-01-01T00:00:00+07:00": "since",
	} {
		e := requireError(t, h.get("/api/v1/alerts?"+query), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": field}, e["details"], query)
		require.Contains(t, e["message"], field)
	}
}

func TestAlerts_UnknownRuleNamesThose(t *testing.T) {
	t.Parallel()
	h := open(t)
	e := requireError(t, h.get("/api/v1/alerts?rule=breaker_open"), 400, "invalid_parameter")
	require.Contains(t, e["message"], `there is no rule "breaker_open"; there are attribute_missing, `)
}

// A name from Strapi is never markup, even for a browser that is shown the JSON.
func TestAlerts_MarkupIsInert(t *testing.T) {
	t.Parallel()
	h := open(t)
	name := `</script><svg onload=alert(1)>`
	h.raise(alerting.Alert{Rule: "r", Subject: name, Level: level.Error, Message: name, Details: map[string]any{"name": name}})
	got := h.get("/api/v1/alerts")
	require.NotContains(t, string(got.body), "<")
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
	require.Equal(t, name, got.json(t)["alerts"].([]any)[0].(map[string]any)["message"])
}
