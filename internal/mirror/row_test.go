package mirror

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

func document(t *testing.T, attributes string) strapi.Document {
	t.Helper()
	doc := strapi.Document{ID: 7, DocumentID: "doc"}
	require.NoError(t, json.Unmarshal([]byte(attributes), &doc.Attributes))
	return doc
}

func TestDealRow(t *testing.T) {
	renamed := strapi.ContentType{Kind: strapi.Deal, UID: "api::d.d", Fields: map[string]string{"status": "deal_status", "owner": ""}}
	doc := document(t, `{
		"name":"Ünïcode","deal_value":120000.50,"probability":"40","deal_status":"active","status":"not ours",
		"deal_id":17,"recognition_start_month":"2026-01-01","expected_close_date":"2026-03-09T22:00:00.000Z",
		"recognition_end_month":null,"owner":"somebody"}`)

	row, unreadable := DealRow(renamed, Key{UID: "api::d.d", DocumentID: "doc"}, strapi.Published, doc)
	require.Empty(t, unreadable)
	require.Equal(t, "Ünïcode", *row.Name)
	require.Equal(t, "120000.5", row.DealValue.Decimal.String(), "never through a float")
	require.Equal(t, "40", row.Probability.Decimal.String(), "big numbers come as strings")
	require.Equal(t, "active", *row.Status, "mapped to another attribute")
	require.Nil(t, row.Owner, "mapped to nothing")
	require.Equal(t, "17", *row.DealID)
	require.Equal(t, "2026-01-01", row.RecognitionStartMonth.Format(time.DateOnly))
	require.Equal(t, "2026-03-09", row.ExpectedCloseDate.Format(time.DateOnly))
	require.Nil(t, row.RecognitionEndMonth)
	require.Nil(t, row.Stage, "an attribute that the type lacks is null")
	require.NotNil(t, row.PublishedAt, "Strapi lists it as published, so it counts")
}

// Each value that cannot be read is null and has a reason that quotes it; what is empty is null and nobody's fault.
func TestDealRow_Values(t *testing.T) {
	bangkok, err := time.LoadLocation("Asia/Bangkok")
	require.NoError(t, err)
	long := strings.Repeat("ร", maxText)
	const (
		number = "is no number of at most 40 digits: write it as 1234.50, without a unit or separators"
		date   = "is no date: write it as 2027-01-31"
		nested = "is no text: map the attribute inside of it, as name=component.attribute, or another one"
		damage = "has a NUL or half a character, which no text in Postgres can hold: write it anew"
	)
	for _, c := range []struct{ field, value, want, reason string }{
		{"deal_value", `1234.50`, "1234.5", ""},
		{"deal_value", `"1234.50"`, "1234.5", ""},
		{"deal_value", `" 1234.50\u00a0"`, "1234.5", ""},
		{"deal_value", `-1.5e3`, "-1500", ""},
		{"deal_value", `"9007199254740993"`, "9007199254740993", ""},
		{"deal_value", `""`, "", ""},
		{"deal_value", `"   "`, "", ""},
		{"deal_value", `null`, "", ""},
		{"deal_value", `"1,234.50"`, "", `"1,234.50" ` + number},
		{"deal_value", `"฿ 500"`, "", `"฿ 500" ` + number},
		{"deal_value", `"12%"`, "", `"12%" ` + number},
		{"deal_value", `"1 234"`, "", `"1 234" ` + number},
		{"deal_value", `"0x10"`, "", `"0x10" ` + number},
		{"deal_value", `"NaN"`, "", `"NaN" ` + number},
		{"deal_value", `"-Infinity"`, "", `"-Infinity" ` + number},
		{"deal_value", `1e400`, "", `1e400 ` + number},
		{"deal_value", `1e131071`, "", `1e131071 ` + number},
		{"deal_value", `1e-9999999999`, "", `1e-9999999999 ` + number},
		{"deal_value", `true`, "", `true ` + number},
		{"deal_value", `{"amount":5}`, "", `{"amount":5} ` + number},
		{"deal_value", `[5]`, "", `[5] ` + number},
		{"deal_value", `"` + strings.Repeat("9", 5000) + `"`, "", `"` + strings.Repeat("9", 57) + `…" ` + number},
		{"expected_close_date", `"2027-01-31"`, "2027-01-31", ""},
		{"expected_close_date", `"2027-02"`, "2027-02-01", ""},
		{"expected_close_date", `" 2027-02-03 "`, "2027-02-03", ""},
		{"expected_close_date", `"2026-12-31T17:00:00.000Z"`, "2027-01-01", ""},
		{"expected_close_date", `"2026-12-31T16:59:59.999Z"`, "2026-12-31", ""},
		{"expected_close_date", `"2027-01-01T01:00:00+09:00"`, "2026-12-31", ""},
		{"expected_close_date", `"2026-12-31T23:00:00"`, "2026-12-31", ""},
		{"expected_close_date", `"2026-12-31 23:00:00"`, "2026-12-31", ""},
		{"expected_close_date", `""`, "", ""},
		{"expected_close_date", `"  "`, "", ""},
		{"expected_close_date", `"Jan 2027"`, "", `"Jan 2027" ` + date},
		{"expected_close_date", `"2027-13-01"`, "", `"2027-13-01" ` + date},
		{"expected_close_date", `"2027-02-30"`, "", `"2027-02-30" ` + date},
		{"expected_close_date", `"2027-01-01T25:00:00Z"`, "", `"2027-01-01T25:00:00Z" ` + date},
		{"expected_close_date", `"0000-01-01"`, "", `"0000-01-01" ` + date},
		{"expected_close_date", `"9999-12-31T20:00:00Z"`, "", `"9999-12-31T20:00:00Z" ` + date},
		{"expected_close_date", `"5874898-01-01"`, "", `"5874898-01-01" ` + date},
		{"expected_close_date", `20270131`, "", `20270131 ` + date},
		{"expected_close_date", `false`, "", `false ` + date},
		{"expected_close_date", `{"year":2027}`, "", `{"year":2027} ` + date},
		{"name", `"Ünïcode 💰"`, "Ünïcode 💰", ""},
		{"name", `17.50`, "17.50", ""},
		{"name", `true`, "true", ""},
		{"name", `""`, "", ""},
		{"name", `"\ufffd is a character"`, "\ufffd is a character", ""},
		{"name", `"` + long + `"`, long, ""},
		{"name", `"` + long + `x"`, "", `"` + strings.Repeat("ร", 19) + `…" is longer than 10000 characters: shorten it, or map another attribute`},
		{"name", `"a\u0000b"`, "", `"a b" ` + damage},
		{"name", `"a\ud800b"`, "", "\"a\ufffdb\" " + damage},
		{"name", `["a","b"]`, "", `["a","b"] ` + nested},
		{"name", `{"text":"\u202ea"}`, "", `{"text":"\u202ea"} ` + nested},
		{"stage", `"` + strings.Repeat("x", maxWord+1) + `"`, "", `"` + strings.Repeat("x", 57) + `…" is longer than 500 characters: shorten it, or map another attribute`},
	} {
		t.Run(c.field+" "+c.value[:min(len(c.value), 40)], func(t *testing.T) {
			typ := strapi.ContentType{UID: "api::d.d", Location: bangkok}
			row, unreadable := DealRow(typ, Key{}, strapi.Published, document(t, `{"`+c.field+`":`+c.value+`,"owner":"ada"}`))
			require.Equal(t, "ada", *row.Owner, "what can be read is read")
			require.Equal(t, c.want, read(row, c.field))
			if c.reason == "" {
				require.Empty(t, unreadable)
				return
			}
			require.Equal(t, []Unreadable{{Field: c.field, Attribute: c.field, Reason: c.reason}}, unreadable)
		})
	}
}

// read returns a column as text, "" for null.
func read(row dbsqlc.DealUpsertParams, field string) string {
	texts := map[string]*string{"name": row.Name, "stage": row.Stage}
	switch {
	case field == "deal_value" && row.DealValue.Valid:
		return row.DealValue.Decimal.String()
	case field == "expected_close_date" && row.ExpectedCloseDate != nil:
		return row.ExpectedCloseDate.Format(time.DateOnly)
	case texts[field] != nil:
		return *texts[field]
	}
	return ""
}

// A path leads through components and relations; what is inside of one that is null is null.
func TestDealRow_Paths(t *testing.T) {
	typ := strapi.ContentType{UID: "api::d.d", Fields: map[string]string{
		"deal_value": "money.amount", "currency": "money.unit.code", "owner": "owner.username", "stage": "stages.name", "status": "empty.name",
	}}
	row, unreadable := DealRow(typ, Key{}, strapi.Published, document(t, `{
		"money":{"id":4,"amount":5.5,"unit":{"code":"THB"}},"owner":{"id":1,"documentId":"x","username":"ada"},
		"stages":[{"name":"a"},{"name":"b"}],"empty":null}`))
	require.Equal(t, "5.5", row.DealValue.Decimal.String())
	require.Equal(t, "THB", *row.Currency)
	require.Equal(t, "ada", *row.Owner)
	require.Nil(t, row.Status)
	require.Nil(t, row.Stage)
	require.Equal(t, []Unreadable{{Field: "stage", Attribute: "stages.name", Reason: `[{"name":"a"},{"name":"b"}] ` +
		"is several values, so that it is unknown which one counts: map an attribute that has one value"}}, unreadable)
}

func TestBillingRow_Relation(t *testing.T) {
	typ := strapi.ContentType{Kind: strapi.Billing, UID: "api::b.b"}
	for deal, want := range map[string]struct{ id, reason string }{
		`{"id":1,"documentId":"abc"}`:   {"abc", ""},
		`[{"id":1,"documentId":"abc"}]`: {"abc", ""},
		`null`:                          {"", ""},
		`[]`:                            {"", ""},
		`[{"documentId":"abc"},{"documentId":"abc"}]`: {"abc", ""},
		`[{"documentId":"abc"},{"documentId":"def"}]`: {"", "belongs to 2 deals (abc, def): the mirror links it to none; leave one in Strapi"},
		`{"count":2}`: {"", `{"count":2} is no relation to a deal: map the relation, as deal=relation`},
		`"abc"`:       {"", `"abc" is no relation to a deal: map the relation, as deal=relation`},
	} {
		row, unreadable := BillingRow(typ, "api::d.d", Key{}, strapi.Draft, document(t, `{"amount":1,"deal":`+deal+`}`))
		require.Nil(t, row.PublishedAt, "a draft is not published")
		require.Equal(t, "1", row.Amount.Decimal.String())
		if want.id == "" {
			require.Nil(t, row.DealDocumentID)
			require.Nil(t, row.DealUID)
		} else {
			require.Equal(t, want.id, *row.DealDocumentID)
		}
		if want.reason == "" {
			require.Empty(t, unreadable)
		} else {
			require.Equal(t, want.reason, unreadable[0].Reason)
		}
	}
}
