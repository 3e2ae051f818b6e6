package realstrapi_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"dealbox/internal/realstrapi"
	"dealbox/internal/revenue"
)

// mirrored says how a type of Strapi's is kept: our column = its attribute.
type mirrored struct {
	uid, plural, table string
	columns            map[string]string
	localized          bool // where Strapi has locales
}

var billingColumns = map[string]string{
	"billing_id": "billing_id", "amount": "amount", "currency": "currency", "status": "billing_status",
	"invoice_date": "invoice_date", "collected_date": "collected_date", "recognition_month": "recognition_month",
}

var mirroredTypes = []mirrored{
	{deals, "pipeline-deals", "deal", map[string]string{
		"deal_id": "deal_id", "name": "name", "deal_value": "deal_value", "currency": "currency", "status": "deal_status",
		"stage": "stage", "probability": "probability", "confidence_override": "confidence_override",
		"expected_close_date": "expected_close_date", "recognition_start_month": "recognition_start_month",
		"recognition_end_month": "recognition_end_month", "owner": "owner",
	}, true},
	{billings, "billings", "billing", billingColumns, true},
	{construction, "construction-billings", "billing", renamed(billingColumns, "amount", "total"), false},
}

func renamed(columns map[string]string, ours, theirs string) map[string]string {
	c := maps.Clone(columns)
	c[ours] = theirs
	return c
}

// inStrapi reads every document with all attributes and relations over REST:
// the published version, else the draft, in each locale of its own.
func (d *dealbox) inStrapi(s *realstrapi.Strapi, m mirrored, drafts bool) map[string]map[string]any {
	d.t.Helper()
	all := map[string]map[string]any{}
	for _, version := range d.versions(m, drafts) { // published wins
		for page := 1; ; page++ {
			path := fmt.Sprintf("/api/%s?%s&populate=*&sort=documentId&pagination[pageSize]=100&pagination[page]=%d", m.plural, version, page)
			answer, err := s.REST(d.t.Context(), http.MethodGet, path, nil)
			require.NoError(d.t, err)
			require.Equal(d.t, http.StatusOK, answer.Status, string(answer.Body))
			var list struct{ Data []map[string]any }
			decoder := json.NewDecoder(bytes.NewReader(answer.Body))
			decoder.UseNumber()
			require.NoError(d.t, decoder.Decode(&list))
			for _, document := range list.Data {
				all[keyIn(document["documentId"].(string), localeOf(document))] = document
			}
			if len(list.Data) < 100 {
				break
			}
		}
	}
	return all
}

// versions returns the lists that together have every document: drafts first.
func (d *dealbox) versions(m mirrored, drafts bool) []string {
	locales := ""
	if m.localized && len(d.locales) > 0 {
		// Not locale=*, which Dealbox asks for. The scenarios make a document in xx.
		for i, locale := range slices.Concat([]string{"en", "xx"}, d.locales) {
			locales += fmt.Sprintf("&filters[locale][$in][%d]=%s", i, locale)
		}
	}
	all := []string{"status=published" + locales}
	if drafts {
		all = slices.Insert(all, 0, "status=draft"+locales)
	}
	return all
}

func localeOf(document map[string]any) string {
	locale, _ := document["locale"].(string)
	return locale
}

// keyIn names a document in a locale.
func keyIn(documentID, locale string) string {
	if locale == "" {
		return documentID
	}
	return documentID + "/" + locale
}

// requireMirror demands that the mirror says what Strapi's REST API says, each
// field, each relation on both sides, and that the forecast is the one of
// what Strapi says, computed from nothing.
func (d *dealbox) requireMirror(s *realstrapi.Strapi, drafts bool, what string) {
	d.t.Helper()
	d.waitIdle()
	theirs, ours := d.bothSides(s, drafts)
	if len(d.locales) > 0 && !slices.Equal(theirs, ours) {
		// What Strapi copies from one locale to the others without a webhook comes a little later.
		require.Eventually(d.t, func() bool {
			_, ours = d.bothSides(s, drafts)
			return slices.Equal(theirs, ours)
		}, 4*time.Minute, 100*time.Millisecond, "%s: the mirror does not become what Strapi says", what)
		d.waitIdle()
	}
	require.Equal(d.t, theirs, ours, what)
	d.requireForecast(s, drafts, what)
}

// bothSides returns the documents of Strapi and of the mirror, one a line.
func (d *dealbox) bothSides(s *realstrapi.Strapi, drafts bool) (theirs, ours []string) {
	d.t.Helper()
	all, published := map[string]map[string]map[string]any{}, map[string]bool{}
	for _, m := range mirroredTypes {
		all[m.uid] = d.inStrapi(s, m, drafts)
		for id, document := range all[m.uid] {
			published[id] = document["publishedAt"] != nil
		}
	}
	for _, m := range mirroredTypes {
		for id, document := range all[m.uid] {
			column := func(name string) string { return value(document[theirName(m, name)]) }
			related := target(document["deal"])
			if m.table == "deal" {
				// A draft leads to drafts, also of documents that are published, whose published version the mirror has.
				related = d.targets(document, func(billing string) bool { return published[keyIn(billing, localeOf(document))] == published[id] })
			}
			theirs = append(theirs, describe(m, id, column, related))
		}
		ours = append(ours, d.inMirror(m)...)
	}
	slices.Sort(theirs)
	slices.Sort(ours)
	return theirs, ours
}

var ownColumns = map[string]string{
	"strapi_id": "id", "strapi_created_at": "createdAt", "strapi_updated_at": "updatedAt", "published_at": "publishedAt",
}

func theirName(m mirrored, column string) string {
	return cmp.Or(ownColumns[column], m.columns[column])
}

// describe writes a document on one line. related is the deal of a billing, or
// the billings of a deal.
func describe(m mirrored, id string, column func(string) string, related string) string {
	line := m.uid + " " + id
	for _, name := range m.all() {
		line += " " + name + "=" + column(name)
	}
	return line + " related=" + related
}

// all returns the compared columns.
func (m mirrored) all() []string {
	return append(slices.Sorted(maps.Keys(m.columns)), slices.Sorted(maps.Keys(ownColumns))...)
}

// value returns a JSON value as text; numbers lose the zeros at their end.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case json.Number:
		return decimal.RequireFromString(v.String()).String()
	}
	return fmt.Sprintf("%q", v)
}

func target(v any) string {
	if document, ok := v.(map[string]any); ok {
		return document["documentId"].(string)
	}
	return ""
}

// targets returns the billings of a deal. With locales those that have none are left
// out: the mirror does not say which locale of the deal they belong to.
func (d *dealbox) targets(document map[string]any, wanted func(string) bool) string {
	relations := []string{"billings", "construction_billings"}
	if len(d.locales) > 0 {
		relations = relations[:1]
	}
	var ids []string
	for _, relation := range relations {
		list, _ := document[relation].([]any)
		for _, v := range list {
			if id := target(v); wanted(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// inMirror describes the live rows of a type.
func (d *dealbox) inMirror(m mirrored) []string {
	d.t.Helper()
	columns := m.all()
	selected := make([]string, len(columns))
	for i, c := range columns {
		selected[i] = "to_jsonb(" + c + ")"
		if _, isTime := ownColumns[c]; isTime && c != "strapi_id" {
			selected[i] = `to_jsonb(to_char(` + c + ` AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`
		}
	}
	relation := `coalesce(deal_document_id, '')`
	if m.table == "deal" {
		relation = `coalesce((SELECT string_agg(b.document_id, ',' ORDER BY b.document_id) FROM billing b
			WHERE b.deal_document_id = d.document_id AND b.locale = d.locale AND b.deal_uid = d.uid AND b.deleted_at IS NULL
			AND (d.published_at IS NULL) = (b.published_at IS NULL)), '')`
	}
	rows, err := d.pool.Query(d.t.Context(), `SELECT concat_ws('/', document_id, nullif(locale, '')), json_build_array(`+strings.Join(selected, ", ")+`), `+relation+
		` FROM `+m.table+` d WHERE uid = $1 AND deleted_at IS NULL`, m.uid)
	require.NoError(d.t, err)
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id, related string
		var raw []byte
		if err := row.Scan(&id, &raw, &related); err != nil {
			return "", err
		}
		var cells []any
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&cells); err != nil {
			return "", err
		}
		column := func(name string) string { return value(cells[slices.Index(columns, name)]) }
		return describe(m, id, column, related), nil
	})
	require.NoError(d.t, err)
	return lines
}

// requireForecast computes the forecast of what Strapi's REST API says is
// published and compares it with the one that Dealbox returns.
func (d *dealbox) requireForecast(s *realstrapi.Strapi, drafts bool, what string) {
	d.t.Helper()
	var deals []revenue.Deal
	var billings []revenue.Billing
	for _, m := range mirroredTypes {
		for id, document := range d.inStrapi(s, m, drafts) {
			documentID, locale, _ := strings.Cut(id, "/")
			key := revenue.Document{UID: m.uid, DocumentID: documentID, Locale: locale, Published: document["publishedAt"] != nil}
			text := func(column string) string { v, _ := document[m.columns[column]].(string); return v }
			number := func(column string) (n decimal.NullDecimal) {
				if v, ok := document[m.columns[column]].(json.Number); ok {
					n = decimal.NewNullDecimal(decimal.RequireFromString(v.String()))
				}
				return n
			}
			month := func(column string) revenue.Month { v, _ := revenue.ParseMonth(text(column)); return v }
			if m.table == "deal" {
				deals = append(deals, revenue.Deal{
					Document: key, Status: text("status"), Stage: text("stage"), Currency: text("currency"),
					Value: number("deal_value"), Probability: number("probability"), Override: number("confidence_override"),
					Start: month("recognition_start_month"), End: month("recognition_end_month"), Close: month("expected_close_date"),
				})
			} else {
				billings = append(billings, revenue.Billing{
					Document: key, Currency: text("currency"), Amount: number("amount"),
					Recognition: month("recognition_month"), Invoice: month("invoice_date"), Collected: month("collected_date"),
				})
			}
		}
	}
	computed, err := revenue.Compute(revenue.Input{
		Currency: "THB", Locale: "en",
		Deals:    inOrder(deals, func(d revenue.Deal) revenue.Document { return d.Document }),
		Billings: inOrder(billings, func(b revenue.Billing) revenue.Document { return b.Document }),
	})
	require.NoError(d.t, err)
	var want []string
	for _, c := range computed.Currencies {
		for _, m := range c.Months {
			want = append(want, fmt.Sprintf("%s %s %s %s %s %s", c.Code, m.Month, m.Confirmed, m.Tentative, m.Billed, m.Collected))
		}
		if c.Deals > 0 {
			want = append(want, fmt.Sprintf("%s %d deals, %s unscheduled", c.Code, c.Deals, c.Unscheduled))
		}
	}
	require.Equal(d.t, want, d.forecast(), what)
}

// inOrder yields rows in key order, as revenue.Compute reads them.
func inOrder[R any](rows []R, key func(R) revenue.Document) iter.Seq2[R, error] {
	slices.SortFunc(rows, func(a, b R) int {
		k, o := key(a), key(b)
		return cmp.Or(cmp.Compare(k.UID, o.UID), cmp.Compare(k.DocumentID, o.DocumentID), cmp.Compare(k.Locale, o.Locale))
	})
	return func(yield func(R, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// forecast returns Dealbox's for THB, in the months that have any value.
func (d *dealbox) forecast() []string {
	d.t.Helper()
	response, err := http.Get(d.address + "/api/v1/models/forecast/base?start_month=2020-01&end_month=2040-12&currency=THB")
	require.NoError(d.t, err)
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Forecast struct {
			MonthlyTotals []struct {
				Month                                   string
				Confirmed, Tentative, Billed, Collected decimal.Decimal
			} `json:"monthly_totals"`
			Summary struct {
				Deals       int
				Unscheduled decimal.Decimal
			}
		}
	}
	require.NoError(d.t, json.NewDecoder(response.Body).Decode(&answer))
	var all []string
	for _, m := range answer.Forecast.MonthlyTotals {
		if !m.Confirmed.IsZero() || !m.Tentative.IsZero() || !m.Billed.IsZero() || !m.Collected.IsZero() {
			all = append(all, fmt.Sprintf("THB %s %s %s %s %s", m.Month, m.Confirmed, m.Tentative, m.Billed, m.Collected))
		}
	}
	if answer.Forecast.Summary.Deals > 0 {
		all = append(all, fmt.Sprintf("THB %d deals, %s unscheduled", answer.Forecast.Summary.Deals, answer.Forecast.Summary.Unscheduled))
	}
	return all
}
