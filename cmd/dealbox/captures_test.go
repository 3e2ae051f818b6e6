package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/strapi"
)

// capture is one delivery of a real Strapi 5.54.0.
type capture struct {
	name, body, event, uid, documentID string
	entry                              json.RawMessage
}

func captures(t *testing.T, set string) (all []capture) {
	t.Helper()
	files, err := filepath.Glob("../../internal/strapi/testdata/captures/" + set + "-*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var c struct {
			BodyRaw string `json:"body_raw"`
		}
		var body struct {
			Event, UID string
			Entry      json.RawMessage
		}
		var entry struct{ DocumentID string }
		require.NoError(t, json.Unmarshal(raw, &c))
		require.NoError(t, json.Unmarshal([]byte(c.BodyRaw), &body))
		if body.Entry != nil {
			require.NoError(t, json.Unmarshal(body.Entry, &entry))
		}
		all = append(all, capture{filepath.Base(file), c.BodyRaw, body.Event, body.UID, entry.DocumentID, body.Entry})
	}
	return all
}

// happen makes the simulated Strapi hold what the real one held when it sent c.
func (h *env) happen(c capture) {
	h.T.Helper()
	switch {
	case c.entry == nil:
	case c.event == "entry.delete":
		require.NoError(h.T, h.fake.SilentDelete(c.uid, c.documentID))
	default:
		require.NoError(h.T, h.fake.Import(c.uid, c.entry))
	}
}

// Every delivery that was captured from a real Strapi goes through the real
// handler, and the mirror and the forecast end as Strapi was.
func TestServe_Captures(t *testing.T) {
	t.Parallel()
	expectations := map[string]struct {
		deals, billings string // live rows, by name or amount
		months          string // confirmed/tentative/billed of the months with any
	}{
		"dp0": {"", "2000 it4w -, 5 fj0u -", "2026-03 0/0/2000"},
		"dp1": {
			`"Deal A – Ünïcode "quotes"" wgrl published, "Draft only" tti6 published, "Minimal" y2tt published`,
			"null x9n8 wgrl, 2000 wxk9 wgrl",
			"2026-01 0/20400.08/0, 2026-02 0/20400.08/0, 2026-03 0/20400.08/2000, 2026-04 0/20400.08/0, 2026-05 0/20400.08/0, 2026-06 0/20400.11/0",
		},
	}
	for set, want := range expectations {
		for _, order := range []string{"in order", "shuffled 1", "shuffled 2", "shuffled 3"} {
			t.Run(set+" "+order, func(t *testing.T) {
				t.Parallel()
				h := newEnv(t, fakestrapi.Config{Types: fakestrapi.PipelineTypes(set == "dp1", true)},
					"STRAPI_DEAL_FIELDS", "status=deal_status", "STRAPI_BILLING_FIELDS", "status=billing_status", "FORECAST_CURRENCY", "EUR")
				h.serve()
				all := captures(t, set)
				if order == "in order" {
					for _, c := range all {
						h.happen(c)
						require.Equal(t, 202, h.deliver("msg_"+c.name[:6], c.body), c.name)
					}
				} else {
					for _, c := range all {
						h.happen(c)
					}
					seed := uint64(order[len(order)-1])
					rand.New(rand.NewPCG(seed, seed)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
					for _, c := range all {
						require.Equal(t, 202, h.deliver("msg_"+c.name[:6], c.body), c.name)
					}
				}
				ledger := h.waitIdle()
				require.EqualValues(t, len(all), ledger.Received)
				require.Equal(t, ledger.Received, ledger.Processed+ledger.Ignored)
				h.requireMirrorEqualsStrapi()
				require.Equal(t, want.deals, h.MustText(`SELECT string_agg('"' || name || '" ' || left(document_id, 4) ||
					CASE WHEN published_at IS NULL THEN '' ELSE ' published' END, ', ' ORDER BY name) FROM deal WHERE deleted_at IS NULL`))
				require.Equal(t, want.billings, h.MustText(`SELECT string_agg(coalesce(trim_scale(amount)::text, 'null') || ' ' || left(document_id, 4) || ' ' ||
					coalesce(left(deal_document_id, 4), '-'), ', ' ORDER BY strapi_created_at) FROM billing WHERE deleted_at IS NULL`))
				require.Equal(t, want.months, h.months("2026-01", "2026-12"))
			})
		}
	}
}

// months reads the forecast over HTTP.
func (h *env) months(start, end string) string {
	h.T.Helper()
	forecast := h.get("/api/v1/models/forecast/base?start_month=" + start + "&end_month=" + end)["forecast"].(map[string]any)
	var all []string
	for _, m := range forecast["monthly_totals"].([]any) {
		month := m.(map[string]any)
		amounts := fmt.Sprintf("%v/%v/%v", month["confirmed"], month["tentative"], month["billed"])
		if amounts != "0/0/0" {
			all = append(all, fmt.Sprintf("%.7s %s", month["month"], amounts))
		}
	}
	return strings.Join(all, ", ")
}

// requireMirrorEqualsStrapi compares documents, publication and links.
func (h *env) requireMirrorEqualsStrapi() {
	h.T.Helper()
	in := map[string]string{}
	for _, uid := range []string{fakestrapi.DealUID, fakestrapi.BillingUID} {
		for _, version := range []strapi.Version{strapi.Draft, strapi.Published} { // published wins
			for _, e := range h.fake.List(uid, version) {
				in[e.DocumentID] = fmt.Sprintf("%s id=%d published=%t deal=%s", uid, e.ID, e.PublishedAt != nil, strings.Join(e.Relations["deal"], ","))
			}
		}
	}
	rows, err := h.Pool.Query(h.T.Context(), `
		SELECT document_id, uid, strapi_id, published_at IS NOT NULL, '' FROM deal WHERE deleted_at IS NULL
		UNION ALL SELECT document_id, uid, strapi_id, published_at IS NOT NULL, coalesce(deal_document_id, '') FROM billing WHERE deleted_at IS NULL`)
	require.NoError(h.T, err)
	mirror := map[string]string{}
	for rows.Next() {
		var documentID, uid, deal string
		var id int64
		var published bool
		require.NoError(h.T, rows.Scan(&documentID, &uid, &id, &published, &deal))
		mirror[documentID] = fmt.Sprintf("%s id=%d published=%t deal=%s", uid, id, published, deal)
	}
	require.NoError(h.T, rows.Err())
	require.Equal(h.T, in, mirror)
}
