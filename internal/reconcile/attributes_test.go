package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/strapi"
)

// Every mirrored column is compared: a difference in any one of them is found, also against
// null, and named. Numbers and times are compared as Postgres keeps them.
func TestCompare_EveryColumn(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deal := h.Deal(fakestrapi.Values{
		"name": "all", "deal_id": "D-1", "deal_value": json.Number("1000.10"), "currency": "THB", "deal_status": "active", "stage": "proposal",
		"probability": json.Number("50"), "confidence_override": json.Number("60.0"), "owner": "ada",
		"expected_close_date": "2027-01-31", "recognition_start_month": "2027-02-01", "recognition_end_month": "2027-03-01",
	})
	_, err := h.Fake.Create(fakestrapi.BillingUID, fakestrapi.Values{
		"billing_id": "B-1", "amount": json.Number("12.30"), "currency": "THB", "billing_status": "sent", "deal": deal.DocumentID,
		"invoice_date": "2027-01-31", "collected_date": "2027-02-01", "recognition_month": "2027-03-01",
	})
	require.NoError(t, err)
	h.sweep(Request{Extent: Full})
	h.drain()
	h.requireInStep()
	for _, table := range []string{"deal", "billing"} {
		columns := h.MustTexts(`SELECT column_name || ' ' || data_type FROM information_schema.columns
			WHERE table_name = $1 AND column_name NOT IN ('uid', 'document_id', 'locale', 'deleted_at') ORDER BY column_name`, table)
		require.Greater(t, len(columns), 10)
		h.MustExec(fmt.Sprintf("CREATE TABLE saved_%s AS SELECT * FROM %s", table, table))
		differs := func(want []string, set string) {
			h.MustExec(fmt.Sprintf("UPDATE %s SET %s", table, set))
			run := h.sweep(Request{Extent: Full})
			require.Equal(t, int64(1), run.Stale, set)
			require.Equal(t, want, h.MustTexts("SELECT unnest(columns) FROM reconciliation_difference WHERE run_id = $1 ORDER BY 1", run.ID), set)
			h.MustExec(fmt.Sprintf("DELETE FROM %s", table))
			h.MustExec(fmt.Sprintf("INSERT INTO %s SELECT * FROM saved_%s", table, table))
		}
		var names []string
		for _, column := range columns {
			name, kind, _ := strings.Cut(column, " ")
			other := map[string]string{"text": "'other'", "bigint": "12345", "numeric": "12345", "date": "'2001-01-01'"}[kind]
			if other == "" {
				other = name + " + interval '1 microsecond'"
			}
			differs([]string{name}, name+" = "+other)
			names = append(names, name)
		}
		differs(names, strings.Join(names, " = NULL, ")+" = NULL")
	}
	h.requireInStep()
}

// What Postgres could not keep does not spoil the page that it stands on: it is null, as its
// sync writes it, or the whole row is left out of the comparison.
func TestAttributes_Unfit(t *testing.T) {
	t.Parallel()
	w := &Worker{dealUIDs: []string{"api::d.d"}}
	deals := strapi.ContentType{Kind: strapi.Deal, UID: "api::d.d"}
	staged := func(name string) string {
		return w.attributes(deals, strapi.Published, strapi.Document{ID: 1, DocumentID: "a", Attributes: map[string]json.RawMessage{"name": json.RawMessage(name)}})
	}
	require.Contains(t, staged(`"plain"`), `"name":"plain"`)
	require.Contains(t, staged(`"a\u0000b"`), `"name":null`)
	year0, nul := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), "a\x00b"
	for _, row := range []dbsqlc.DealUpsertParams{{ExpectedCloseDate: &year0}, {Name: &nul}} {
		var c columns
		c.deal(row)
		require.True(t, c.unfit)
		require.Len(t, c.values, 16)
	}
}
