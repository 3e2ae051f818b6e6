package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// accept delivers a body and returns the event's id.
func (h *env) accept(body string) string {
	h.T.Helper()
	got := h.do(h.delivery(body))
	require.Equal(h.T, 202, got.StatusCode, string(got.body))
	return got.json(h.T)["event_id"].(string)
}

// operate posts a JSON body with the admin token.
func (h *env) operate(path, body string) answer {
	h.T.Helper()
	r := h.request(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "application/json")
	return h.do(r)
}

func (h *env) kill(documentID string) {
	h.T.Helper()
	h.MustExec("UPDATE entity_sync SET state = 'dead', dead_at = now(), last_error = 'HTTP 500', failures = 12 WHERE document_id = '" + documentID + "'")
}

func (h *env) read(path string) answer {
	h.T.Helper()
	r := h.request(http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+readToken)
	return h.do(r)
}

func TestEvents_List(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	want := map[string][]string{}
	for n := range 3 {
		want["pending"] = append(want["pending"], h.accept(dealEvent("entry.update", fmt.Sprintf("wait%d", n))))
		want["dead"] = append(want["dead"], h.accept(dealEvent("entry.create", fmt.Sprintf("dead%d", n))))
		want["ignored"] = append(want["ignored"], h.accept(fmt.Sprintf(`{"event":"media.create","media":%d}`, n)))
		want["quarantined"] = append(want["quarantined"], h.accept(fmt.Sprintf("{%d", n)))
		h.kill(fmt.Sprintf("dead%d", n))
	}
	for status, ids := range want {
		var got []string
		cursor := ""
		for {
			tree := h.read("/api/v1/events?limit=2&status=" + status + "&cursor=" + url.QueryEscape(cursor)).json(t)
			for _, e := range tree["events"].([]any) {
				event := e.(map[string]any)
				require.Equal(t, status, event["status"])
				got = append(got, event["id"].(string))
			}
			if tree["next_cursor"] == nil {
				break
			}
			cursor = tree["next_cursor"].(string)
		}
		slices.Sort(ids)
		slices.Reverse(ids)
		require.Equal(t, ids, got, "newest first")
	}
	count := func(query string) int {
		return len(h.read("/api/v1/events?limit=1000&" + query).json(t)["events"].([]any))
	}
	require.Equal(t, 12, count(""))
	require.Equal(t, 6, count("status=dead,PENDING"))
	require.Equal(t, 3, count("event=entry.create"))
	require.Equal(t, 6, count("entity=pipeline-deal"))
	require.Equal(t, 1, count("document_id=wait1"))
	require.Equal(t, 0, count("until=2020-01-01"))
	require.Equal(t, 12, count("since=2020-01-01"))
}

func TestEvents_InvalidParameter(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	for query, field := range map[string]string{
		"status=lost": "status", "limit=0": "limit", "limit=1001": "limit", "cursor=x": "cursor", "cursor=%21": "cursor",
		"since=monday": "since", "until=2026-13-01": "until", "event=%00": "event", "entity=%ff": "entity", "document_id=%0A": "document_id",
		"event=a&event=b": "event", "event=entry.foo": "event", "entity=deals": "entity", "since=2026-01-02&until=2026-01-01": "since", "typ=x": "typ",
	} {
		e := requireError(t, h.read("/api/v1/events?"+query), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": field}, e["details"], query)
	}
	e := requireError(t, h.read("/api/v1/events/17"), 400, "invalid_parameter")
	require.Equal(t, map[string]any{"field": "id"}, e["details"])
	requireError(t, h.read("/api/v1/events/"+noEvent), 404, "not_found")
	for body, field := range map[string]string{
		`{}`: "status", ``: "status", `{"dry_run":true}`: "status", `{"status":""}`: "status", `{"status":null}`: "status",
		`{"status":"lost"}`: "status", `{"status":["dead",1]}`: "status", `{"event":{}}`: "event", `{"limit":"3"}`: "limit",
		`{"status":"dead","dry_run":"yes"}`: "dry_run", `{"since":"monday"}`: "since", `[]`: "body", `{`: "body",
	} {
		e := requireError(t, h.operate("/api/v1/events/replay", body), 400, "invalid_parameter")
		require.Equal(t, map[string]any{"field": field}, e["details"], body)
	}
	requireError(t, h.operate("/api/v1/events/replay", `{"event":"`+strings.Repeat("x", 70<<10)+`"}`), 413, "body_too_large")
}

func TestEvents_Story(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	body := dealEvent("entry.update", "abc")
	id := h.accept(body)
	h.kill("abc")
	tree := h.read("/api/v1/events/" + id).json(t)
	require.Equal(t, id, tree["id"])
	require.Equal(t, "dead", tree["status"])
	require.Equal(t, "strapi", tree["scheme"])
	require.Equal(t, body, tree["body"])
	require.Equal(t, "2026-11-23T10:00:00Z", tree["sent_at"])
	require.Equal(t, "HTTP 500", at(t, tree, "document", "last_error"))
	require.Len(t, tree["jobs"], 1)
	require.Nil(t, tree["changed"])
}

func TestEvents_Replay(t *testing.T) {
	t.Parallel()
	h := open(t, withTokens)
	id := h.accept(dealEvent("entry.update", "abc"))
	h.accept(dealEvent("entry.update", "def"))
	ignored := h.accept(`{"event":"trigger-test"}`)
	h.kill("abc")
	h.kill("def")
	counts := func(a answer) string {
		tree := a.json(t)
		return fmt.Sprint(a.StatusCode, " ", tree["status"], " ", tree["events"], " ", tree["documents"], " ", tree["nothing_to_replay"])
	}
	dead := func() json.Number { return at(t, h.read(detailedPath).json(t), "ledger", "dead").(json.Number) }
	require.Equal(t, "200 dry_run 2 2 0", counts(h.operate("/api/v1/events/replay", `{"status":"dead","dry_run":true}`)))
	require.Equal(t, "200 dry_run 1 1 0", counts(h.operate("/api/v1/events/"+id+"/replay", `{"dry_run":true}`)))
	require.Equal(t, json.Number("2"), dead())
	require.Equal(t, "202 accepted 1 1 0", counts(h.operate("/api/v1/events/"+id+"/replay", "")))
	require.Equal(t, json.Number("1"), dead())
	require.Equal(t, "202 accepted 1 1 0", counts(h.operate("/api/v1/events/replay", `{"status":["dead"],"entity":"pipeline-deal"}`)))
	require.Equal(t, json.Number("0"), dead())
	require.Equal(t, "200 nothing_to_replay 1 0 1", counts(h.operate("/api/v1/events/"+ignored+"/replay", "")))
	require.Equal(t, "200 nothing_to_replay 0 0 0", counts(h.operate("/api/v1/events/replay", `{"status":"dead"}`)))
}
