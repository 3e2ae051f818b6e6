package fakestrapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// capture is a delivery that a real Strapi made, and its answer to the request
// that caused it.
type capture struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body_raw"`
	Trigger struct {
		Status int             `json:"status"`
		Data   json.RawMessage `json:"data"`
	} `json:"trigger_response"`
}

func readCapture(t *testing.T, name string) capture {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../strapi/testdata/captures", name+".json"))
	require.NoError(t, err)
	var c capture
	require.NoError(t, json.Unmarshal(b, &c))
	return c
}

// step is one thing that was done to the real Strapi and the deliveries that
// came of it. A step through REST also compares the answer.
type step struct {
	captures []string
	do       func(*replay)
	rest     func(*replay) answered
}

// replay does the steps to the fake and remembers the documents it made.
type replay struct {
	*rig
	ids map[string]string // ours by name
}

func (r *replay) post(name, plural, query, data string) answered {
	a := r.call(http.MethodPost, "/api/"+plural+query, `{"data":`+r.expand(data)+`}`)
	r.ids[name] = documentIDs(a.body)[0]
	return a
}

func (r *replay) put(name, plural, query, data string) answered {
	return r.call(http.MethodPut, "/api/"+plural+"/"+r.ids[name]+query, `{"data":`+r.expand(data)+`}`)
}

// expand writes documentIds for $names.
func (r *replay) expand(data string) string {
	return os.Expand(data, func(name string) string { return `"` + r.ids[name] + `"` })
}

func (r *replay) must(e Entry, err error) string {
	r.t.Helper()
	require.NoError(r.t, err)
	return e.DocumentID
}

const dealA = `"deal_value":120000.5,"probability":40,"stage":"proposal","recognition_start_month":"2026-01-01",` +
	`"recognition_end_month":"2026-06-01","deal_status":"active","currency":"EUR"}`

func dealValues(name string) Values {
	return Values{
		"name": name, "deal_value": 120000.5, "probability": 40, "stage": "proposal", "deal_status": "active",
		"recognition_start_month": "2026-01-01", "recognition_end_month": "2026-06-01", "currency": "EUR",
	}
}

// common returns the steps that were done to both Strapis. The files of the second
// have a number at the end, because each save made two deliveries.
func common() map[string]step {
	return map[string]step{
		"trigger-test": {do: func(r *replay) { r.Webhooks.TriggerTest(r.t.Context()) }},
		"rest-create-deal": {rest: func(r *replay) answered {
			return r.post("a", "pipeline-deals", "", `{"name":"Deal A – Ünïcode \"quotes\"",`+dealA)
		}},
		"rest-create-minimal": {rest: func(r *replay) answered {
			return r.post("minimal", "pipeline-deals", "", `{"name":"Minimal"}`)
		}},
		"rest-create-billing": {rest: func(r *replay) answered {
			return r.post("b1", "billings", "", `{"amount":1000.1,"invoice_date":"2026-02-01","billing_status":"sent","deal":$a}`)
		}},
		"rest-create-billing2": {rest: func(r *replay) answered {
			return r.post("b2", "billings", "", `{"amount":2000,"invoice_date":"2026-03-01","billing_status":"sent","deal":$a}`)
		}},
		"rest-update-deal": {rest: func(r *replay) answered {
			return r.put("a", "pipeline-deals", "", `{"probability":60,"stage":"negotiation"}`)
		}},
		"rest-update-deal-noop": {rest: func(r *replay) answered {
			return r.put("a", "pipeline-deals", "", `{"probability":60,"stage":"negotiation"}`)
		}},
		"rest-update-billing": {rest: func(r *replay) answered {
			return r.put("b1", "billings", "", `{"collected_date":"2026-02-20","billing_status":"collected"}`)
		}},
		"rest-update-billing-null": {rest: func(r *replay) answered {
			return r.put("b1", "billings", "", `{"amount":null,"collected_date":null}`)
		}},
		"rest-billing-disconnect": {rest: func(r *replay) answered { return r.put("b1", "billings", "", `{"deal":null}`) }},
		"rest-deal-set-billings": {rest: func(r *replay) answered {
			return r.put("a", "pipeline-deals", "", `{"billings":{"set":[$b1,$b2]}}`)
		}},
		"rest-create-draft": {rest: func(r *replay) answered {
			return r.post("draft", "pipeline-deals", "?status=draft", `{"name":"Draft only",`+dealA)
		}},
		"rest-update-draft": {rest: func(r *replay) answered {
			return r.put("draft", "pipeline-deals", "?status=draft", `{"probability":41}`)
		}},
		"cm-publish": {do: func(r *replay) {
			r.must(r.Publish(DealUID, r.ids["draft"], Values{"probability": 42}))
		}},
		"cm-create-deal": {do: func(r *replay) { r.ids["cm"] = r.must(r.Create(DealUID, dealValues("CM deal"))) }},
		"cm-update-deal": {do: func(r *replay) {
			r.must(r.Update(DealUID, r.ids["cm"], Values{"name": "CM deal 2", "probability": 55}))
		}},
		"cm-create-billing": {do: func(r *replay) {
			deal := map[string]any{"connect": []any{map[string]any{"documentId": r.ids["cm"]}}}
			r.must(r.Create(BillingUID, Values{"amount": 5, "billing_status": "sent", "deal": deal}))
		}},
		"cm-duplicate": {do: func(r *replay) {
			r.ids["clone"] = r.must(r.Clone(DealUID, r.ids["cm"], Values{"name": "CM clone"}))
		}},
		"cm-delete":      {do: func(r *replay) { require.NoError(r.t, r.Delete(DealUID, r.ids["cm"])) }},
		"cm-bulk-delete": {do: func(r *replay) { require.NoError(r.t, r.BulkDelete(DealUID, r.ids["minimal"], r.ids["clone"])) }},
		"rest-delete-deal-with-billings": {rest: func(r *replay) answered {
			return r.call(http.MethodDelete, "/api/pipeline-deals/"+r.ids["a"], "")
		}},
		"rest-delete-billing": {rest: func(r *replay) answered {
			return r.call(http.MethodDelete, "/api/billings/"+r.ids["b1"], "")
		}},
	}
}

// scenario puts the captured deliveries of one Strapi into steps: the files
// are numbered, and dp1-02-x-1 and dp1-03-x-2 belong to one step x.
func scenario(t *testing.T, prefix string) []step {
	t.Helper()
	files, err := filepath.Glob("../strapi/testdata/captures/" + prefix + "*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	slices.Sort(files)
	files = slices.DeleteFunc(files, func(file string) bool { return strings.Contains(file, "-media-") }) // the fake has no media library
	known, names := common(), []string{}
	numbered := regexp.MustCompile(`^dp\d-\d\d-(.*?)(?:-[12])?$`)
	grouped := map[string]step{}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ".json")
		name := numbered.FindStringSubmatch(base)[1]
		s, seen := grouped[name]
		if !seen {
			s = known[name]
			require.True(t, s.do != nil || s.rest != nil, "no step for the capture %s", base)
			names = append(names, name)
		}
		s.captures = append(s.captures, base)
		grouped[name] = s
	}
	steps := []step{}
	for _, name := range names {
		steps = append(steps, grouped[name])
	}
	return steps
}

// TestStrapi_ReplaysCaptures does to the fake what was done to a real Strapi.
// Its deliveries must be the captured ones byte for byte, row ids included, but
// for documentIds and moments; and these must be the same or different, earlier
// or later, where they were in the capture.
func TestStrapi_ReplaysCaptures(t *testing.T) {
	t.Parallel()
	for prefix, drafts := range map[string]bool{"dp0": false, "dp1": true} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			r := &replay{ids: map[string]string{}, rig: newRig(t, func(c *Config) {
				c.Types = CapturedTypes(drafts)
				c.Now = newClock().Now
				c.Webhooks[0].StaticHeaders = map[string]string{
					"Authorization": "Bearer rig-static-default-token", "X-Rig-Static": "abc",
					"X-Rig-Default": "from-config-server-webhooks-defaultHeaders",
				}
			})}
			theirIDs, ourIDs := newNames(), newNames()
			for _, step := range scenario(t, prefix) {
				replayStep(t, r, step, theirIDs, ourIDs)
			}
		})
	}
}

func replayStep(t *testing.T, r *replay, s step, theirIDs, ourIDs *names) {
	t.Helper()
	var want []capture
	for _, name := range s.captures {
		want = append(want, readCapture(t, name))
	}
	if s.rest == nil {
		s.do(r)
	} else {
		a := s.rest(r)
		require.Equal(t, want[0].Trigger.Status, a.status, s.captures[0])
		if a.status != http.StatusNoContent {
			var theirs, ours any
			require.NoError(t, json.Unmarshal(want[0].Trigger.Data, &theirs))
			require.NoError(t, json.Unmarshal([]byte(a.body), &ours))
			require.Equal(t, keys(theirs), keys(ours), s.captures[0])
		}
	}
	got := r.drain()
	require.Len(t, got, len(want), s.captures)
	// The order of the deliveries of one step is not determined.
	slices.SortFunc(want, func(a, b capture) int { return cmp.Compare(sortKeyOf(a.Body), sortKeyOf(b.Body)) })
	slices.SortFunc(got, func(a, b received) int { return cmp.Compare(sortKeyOf(string(a.body)), sortKeyOf(string(b.body))) })
	for i := range want {
		require.Equal(t, theirIDs.normalize(want[i].Body), ourIDs.normalize(string(got[i].body)), s.captures[i])
		requireHeaders(t, want[i], got[i])
	}
}

func requireHeaders(t *testing.T, want capture, got received) {
	t.Helper()
	require.EqualValues(t, len(got.body), got.length)
	seen := len(want.Headers) - 1 // host is no header of a Go request
	for name, value := range want.Headers {
		if name != "host" && name != "content-length" {
			require.Equal(t, value, got.header.Get(name), name)
		}
	}
	require.Len(t, got.header, seen)
}

// sortKeyOf returns the event and the number of its row.
func sortKeyOf(body string) string {
	var e struct {
		Event string `json:"event"`
		Entry struct {
			ID int `json:"id"`
		} `json:"entry"`
	}
	_ = json.Unmarshal([]byte(body), &e)
	return fmt.Sprintf("%s %06d", e.Event, e.Entry.ID)
}

var (
	documentIDPattern = regexp.MustCompile(`"documentId":"([a-z0-9]{24})"`)
	momentPattern     = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
)

func documentIDs(body string) []string {
	var ids []string
	for _, m := range documentIDPattern.FindAllStringSubmatch(body, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// names gives documentIds short names, in the order in which they appear.
type names struct{ short map[string]string }

func newNames() *names { return &names{map[string]string{}} }

// normalize writes short names for documentIds, and for each moment its place
// among the moments of this body.
func (n *names) normalize(body string) string {
	for _, id := range documentIDs(body) {
		if _, seen := n.short[id]; !seen {
			n.short[id] = fmt.Sprintf("doc%d", len(n.short)+1)
		}
		body = strings.ReplaceAll(body, id, n.short[id])
	}
	moments := momentPattern.FindAllString(body, -1)
	slices.Sort(moments)
	for i, m := range slices.Compact(moments) {
		body = strings.ReplaceAll(body, m, fmt.Sprintf(`"moment%d"`, i+1))
	}
	return body
}

// keys replaces what differs between two runs, to compare answers.
func keys(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = keys(value)
		}
		return out
	case string:
		if len(v) == 24 && (strings.HasSuffix(v, "Z") || !strings.Contains(v, " ")) {
			return "varies"
		}
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, keys(item))
		}
		return out
	}
	return v
}
