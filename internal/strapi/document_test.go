package strapi

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseDocument(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw    string
		fault  string
		locale string
		id     int64
	}{
		"Minimal":             {`{"documentId":"a"}`, "", "", 0},
		"Locale":              {`{"documentId":"a","locale":"fr","id":9007199254740993}`, "", "fr", 9007199254740993},
		"LocaleNull":          {`{"documentId":"a","locale":null,"publishedAt":null}`, "", "", 0},
		"OddID":               {`{"documentId":"a","id":"7"}`, "", "", 0},
		"OddTimes":            {`{"documentId":"a","createdAt":7,"updatedAt":"yesterday"}`, "", "", 0},
		"Null":                {`null`, "data is null", "", 0},
		"Absent":              {``, "data is not an object", "", 0},
		"Array":               {`[]`, "data is not an object", "", 0},
		"NoDocumentID":        {`{"id":1}`, "data.documentId is missing or no identifier; Dealbox needs Strapi 5", "", 0},
		"NumericDocumentID":   {`{"documentId":1}`, "data.documentId is missing or no identifier; Dealbox needs Strapi 5", "", 0},
		"NumericPublishedAt":  {`{"documentId":"a","publishedAt":1}`, "data.publishedAt is not a time", "", 0},
		"EmptyPublishedAt":    {`{"documentId":"a","publishedAt":""}`, "data.publishedAt is not a time", "", 0},
		"DocumentIDOtherCase": {`{"documentid":"a"}`, "data.documentId is missing or no identifier; Dealbox needs Strapi 5", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, fault := parseDocument(json.RawMessage(c.raw))
			require.Equal(t, c.fault, fault)
			require.Equal(t, c.locale, doc.Locale)
			require.Equal(t, c.id, doc.ID)
			require.Nil(t, doc.CreatedAt)
			require.Nil(t, doc.UpdatedAt)
			require.Nil(t, doc.PublishedAt)
		})
	}
}

// Attributes keep the digits that Strapi wrote, however the answer is laid out.
func TestParseDocument_NumbersStayText(t *testing.T) {
	t.Parallel()
	doc, fault := parseDocument(json.RawMessage("{ \"documentId\" : \"a\" ,\n \"deal_value\" :\t12345678901234567890.10 ,\n \"x\" : null }"))
	require.Empty(t, fault)
	require.Equal(t, map[string]json.RawMessage{"deal_value": json.RawMessage("12345678901234567890.10"), "x": json.RawMessage("null")}, doc.Attributes)
}

func TestRelationIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw  string
		want []string
		ok   bool
	}{
		"Array":            {`[{"id":1,"documentId":"a"},{"documentId":"b"}]`, []string{"a", "b"}, true},
		"EmptyArray":       {` [] `, []string{}, true},
		"Object":           {`{"id":1,"documentId":"a","deal_value":1}`, []string{"a"}, true},
		"Null":             {" null\n", nil, true},
		"Absent":           {``, nil, false},
		"Count":            {`{"count":2}`, nil, false},
		"CountZero":        {`{"count":0}`, nil, false},
		"Number":           {`7`, nil, false},
		"Text":             {`"a"`, nil, false},
		"ArrayOfText":      {`["a"]`, nil, false},
		"ArrayOfNull":      {`[null]`, nil, false},
		"OneWithoutID":     {`[{"documentId":"a"},{"id":2}]`, nil, false},
		"NotAnIdentifier":  {`[{"documentId":""}]`, nil, false},
		"Truncated":        {`[{"documentId":"a"}`, nil, false},
		"TruncatedObject":  {`{"documentId":"a"`, nil, false},
		"TwoObjects":       {`{"documentId":"a"},{"documentId":"b"}`, nil, false},
		"Strapi4":          {`{"data":[{"id":1}]}`, nil, false},
		"Strapi4OneOrNone": {`{"data":null}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := RelationIDs(json.RawMessage(c.raw))
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.want, got)
		})
	}
}
