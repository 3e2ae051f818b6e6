package mirror

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

	row, err := DealRow(renamed, Key{UID: "api::d.d", DocumentID: "doc"}, strapi.Published, doc)
	require.NoError(t, err)
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

func TestDealRow_BadValues(t *testing.T) {
	for attribute, value := range map[string]string{
		"deal_value":              `1e131071`,
		"probability":             `"NaN"`,
		"confidence_override":     `true`,
		"expected_close_date":     `"soon"`,
		"recognition_start_month": `{"year":2026}`,
		"name":                    `["a","b"]`,
	} {
		t.Run(attribute, func(t *testing.T) {
			_, err := DealRow(strapi.ContentType{UID: "api::d.d"}, Key{}, strapi.Published, document(t, `{"`+attribute+`":`+value+`}`))
			require.ErrorContains(t, err, "attribute "+attribute+" of api::d.d is not")
			require.True(t, isBadValue(err), "it is the document's fault")
		})
	}
}

func TestBillingRow_Relation(t *testing.T) {
	typ := strapi.ContentType{Kind: strapi.Billing, UID: "api::b.b"}
	read := func(deal string) (*string, error) {
		row, err := BillingRow(typ, "api::d.d", Key{}, strapi.Draft, document(t, `{"amount":1`+deal+`}`))
		require.Nil(t, row.PublishedAt, "a draft is not published")
		return row.DealDocumentID, err
	}
	id, err := read(`,"deal":{"id":1,"documentId":"abc"}`)
	require.NoError(t, err)
	require.Equal(t, "abc", *id)

	id, err = read(`,"deal":null`)
	require.NoError(t, err)
	require.Nil(t, id)

	_, err = read(``)
	require.Error(t, err, "an answer without the relation must not unlink the billing")
}
