package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// remove sends DELETE with the admin token.
func (h *env) remove(path string) answer {
	h.T.Helper()
	r := h.request(http.MethodDelete, path, nil)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	return h.do(r)
}

func TestAlerts_Operate(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	h.raise(alerting.Alert{Rule: "one", Level: level.Error, Message: "m"})

	got := h.operate("/api/v1/alerts/1/acknowledge", `{"comment":"on it"}`)
	require.Equal(t, 200, got.StatusCode, string(got.body))
	require.Equal(t, "acknowledged", got.json(t)["status"])
	require.Equal(t, "acknowledged", h.operate("/api/v1/alerts/1/acknowledge", "").json(t)["status"], "a comment is not needed")
	require.Equal(t, "resolved", h.operate("/api/v1/alerts/1/resolve", `{"comment":null}`).json(t)["status"])
	requireError(t, h.operate("/api/v1/alerts/1/resolve", ""), 409, "already_resolved")
	requireError(t, h.operate("/api/v1/alerts/2/resolve", ""), 404, "not_found")

	story := h.read("/api/v1/alerts/1").json(t)
	require.Equal(t, "1", story["id"])
	require.Equal(t, []any{}, story["notifications"])
	var kinds []string
	for _, e := range story["history"].([]any) {
		event := e.(map[string]any)
		kinds = append(kinds, fmt.Sprint(event["kind"], "/", event["actor"], "/", event["reason"]))
	}
	require.Equal(t, []string{"raised/dealbox/", "acknowledged/ada/on it", "acknowledged/ada/", "resolved/ada/"}, kinds)
	requireError(t, h.read("/api/v1/alerts/9223372036854775807"), 404, "not_found")
}

func TestSilences(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	got := h.operate("/api/v1/silences", `{"rule":"clock_skew","subject":"host-1","expires_at":"`+until+`","comment":"new machine"}`)
	require.Equal(t, 201, got.StatusCode, string(got.body))
	made := got.json(t)
	require.Equal(t, "ada", made["author"])
	require.Equal(t, "host-1", made["subject"])
	require.Equal(t, until, made["expires_at"])
	require.Nil(t, made["ended_at"])

	h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "host-1", Level: level.Error})
	h.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "host-2", Level: level.Error})
	muted := h.read("/api/v1/alerts?status=suppressed").json(t)["alerts"].([]any)
	require.Len(t, muted, 1)
	require.Equal(t, made["id"], muted[0].(map[string]any)["silence_id"])

	require.Len(t, h.read("/api/v1/silences").json(t)["silences"], 1)
	ended := h.remove("/api/v1/silences/1")
	require.Equal(t, 200, ended.StatusCode)
	require.Equal(t, "ada", ended.json(t)["ended_by"])
	requireError(t, h.remove("/api/v1/silences/1"), 404, "not_found")
	require.JSONEq(t, `{"silences":[]}`, string(h.read("/api/v1/silences").body))

	every := h.operate("/api/v1/silences", `{"rule":"*","subject":null,"expires_at":"`+until+`","comment":"c"}`).json(t)
	require.Nil(t, every["subject"])
}

func TestOperate_BadInput(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	h.raise(alerting.Alert{Rule: "one", Level: level.Error})
	long, _ := json.Marshal(map[string]string{"comment": strings.Repeat("x", 501)})
	future := `"expires_at":"2099-01-01T00:00:00Z"`
	for _, c := range []struct{ path, body, field string }{
		{"/api/v1/alerts/1/acknowledge", string(long), "comment"},
		{"/api/v1/alerts/1/resolve", string(long), "comment"},
		{"/api/v1/alerts/1/resolve", `{"comment":1}`, "comment"},
		{"/api/v1/alerts/1/resolve", `{"coment":"x"}`, "coment"},
		{"/api/v1/alerts/1/resolve", `[]`, "body"},
		{"/api/v1/alerts/x/resolve", ``, "id"},
		{"/api/v1/alerts/0/resolve", ``, "id"},
		{"/api/v1/silences", ``, "rule"},
		{"/api/v1/silences", `{"rule":"unknown","comment":"c"}`, "rule"},
		{"/api/v1/silences", `{"rule":"*","comment":"c"}`, "expires_at"},
		{"/api/v1/silences", `{"rule":"*","comment":"c","expires_at":"soon"}`, "expires_at"},
		{"/api/v1/silences", `{"rule":"*","comment":"c","expires_at":"2020-01-01"}`, "expires_at"},
		{"/api/v1/silences", `{"rule":"*","comment":"c",` + future + `}`, "expires_at"},
		{"/api/v1/silences", `{"rule":["*"],"comment":"c",` + future + `}`, "rule"},
	} {
		e := requireError(t, h.operate(c.path, c.body), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": c.field}, e["details"], c.path+" "+c.body)
	}
	requireError(t, h.remove("/api/v1/silences/-1"), 400, "invalid_parameter")
	requireError(t, h.read("/api/v1/alerts/summery"), 400, "invalid_parameter")
}

func TestOperate_NeedsAdmin(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	for _, c := range []call{
		{method: "POST", path: "/api/v1/alerts/1/acknowledge"}, {method: "POST", path: "/api/v1/alerts/1/resolve"},
		{method: "POST", path: "/api/v1/silences"}, {method: "DELETE", path: "/api/v1/silences/1"},
	} {
		require.Equal(t, 401, h.call(c).Code, c.path)
		c.bearer = readToken
		require.Equal(t, 403, h.call(c).Code, c.path)
		c.bearer, c.headers = adminToken, http.Header{"Origin": {"https://evil.example"}}
		require.Equal(t, 403, h.call(c).Code, c.path)
	}
	require.Equal(t, 401, h.call(call{path: "/api/v1/alerts/1"}).Code)
	require.Equal(t, 401, h.call(call{path: "/api/v1/silences"}).Code)
}

func TestAlerts_Summary(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	h.raise(alerting.Alert{Rule: "one", Level: level.Error, Message: "m"})
	tree := h.read("/api/v1/alerts/summary").json(t)
	require.Equal(t, json.Number("1"), at(t, tree, "total"))
	require.Equal(t, json.Number("1"), at(t, tree, "by_level", "error"))
	require.Equal(t, json.Number("1"), at(t, tree, "by_status", "firing"))
	require.Equal(t, json.Number("1"), at(t, tree, "by_rule", "one"))
	require.Equal(t, json.Number("0"), at(t, tree, "notifications", "sent"))
	require.Nil(t, at(t, tree, "time_to_resolve", "mean_seconds"))
	require.Len(t, tree["by_hour"], 1)
	require.Len(t, tree["recent"], 1)
	for query, field := range map[string]string{"since=yesterday": "since", "until=x": "until", "since=2020-01-01": "since"} {
		e := requireError(t, h.read("/api/v1/alerts/summary?"+query), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": field}, e["details"], query)
	}
}
