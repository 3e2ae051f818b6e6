package strapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParsePage(t *testing.T) {
	t.Parallel()
	row := func(id int, documentID string) string {
		return fmt.Sprintf(`{"id":%d,"documentId":%q}`, id, documentID)
	}
	for name, test := range map[string]struct {
		rows  string
		size  int // of a page
		after int64
		last  int64
		count int
		fault string
	}{
		"in order":                  {row(3, "b") + "," + row(7, "a"), 2, 0, 7, 2, ""},
		"behind the cursor":         {row(8, "b"), 2, 7, 8, 1, ""},
		"the end":                   {"", 2, 7, 0, 0, ""},
		"the cursor again":          {row(7, "b"), 1, 7, 0, 0, "has row 7 although rows behind 7 were requested. Something in front of Strapi"},
		"the filter was dropped":    {row(1, "b") + "," + row(9, "c"), 2, 7, 0, 0, "has row 1 although rows behind 7 were requested"},
		"the sorting was dropped":   {row(9, "b") + "," + row(8, "a"), 2, 0, 0, 0, "has row 8 behind row 9 although the order of row ids was requested"},
		"no filter, all of a list":  {row(9, "b") + "," + row(1, "c"), 3, 7, 9, 1, ""},
		"no filter, nothing is new": {row(7, "b") + "," + row(1, "c"), 3, 7, 0, 0, ""},
		"no sorting, no pages":      {row(9, "b") + "," + row(8, "a"), 1, 0, 9, 2, ""},
		"a document twice":          {row(3, "a") + "," + row(4, "a"), 2, 0, 4, 2, ""},
		"strapi 4":                  {`{"id":3,"attributes":{"name":"x"}}`, 2, 0, 0, 0, "Strapi 5"},
	} {
		t.Run(name, func(t *testing.T) {
			page, fault := parsePage(fmt.Appendf(nil, `{"data":[%s],"meta":{"pagination":{"page":1,"pageSize":%d}}}`, test.rows, test.size), test.after)
			if test.fault != "" {
				require.Contains(t, fault, test.fault)
				return
			}
			require.Empty(t, fault)
			require.Equal(t, test.last, page.Last)
			require.Equal(t, test.count, page.Rows)
			require.Len(t, page.Documents, test.count)
			require.Empty(t, page.Odd)
		})
	}
	for body, fault := range map[string]string{
		`{"data":[],"meta":{"pagination":{}}}`:               "pageSize",
		`{"data":[],"total":0}`:                              "no meta.pagination, which Strapi 5 always sends. Something in front of Strapi",
		`{"data":null,"meta":{"pagination":{"pageSize":1}}}`: "not an array",
		`<html>`:                             "HTML",
		`{"data":[{"id":1,"documentId":"a"}`: "cut short",
	} {
		_, got := parsePage([]byte(body), 0)
		require.Contains(t, got, fault, body)
	}
}

// A row that is no document is an odd one, and spoils no other row nor the order.
func TestParsePage_OddRows(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]OddRow{
		`{"id":5,"documentId":null}`:       {5, "documentId"},
		`{"id":5,"documentId":""}`:         {5, "documentId"},
		`{"id":5,"documentId":17}`:         {5, "documentId"},
		`{"id":5,"documentId":"a\u0000b"}`: {5, "documentId"},
		`{"id":5,"documentId":".."}`:       {5, "documentId"},
		`{"id":5}`:                         {5, "documentId"},
		fmt.Sprintf(`{"id":5,"documentId":%q}`, strings.Repeat("x", 300)):       {5, "documentId"},
		`{"id":5,"documentId":"a","publishedAt":"yesterday"}`:                   {5, "publishedAt"},
		`{"id":5,"documentId":"a","locale":"` + strings.Repeat("x", 300) + `"}`: {5, "locale"},
		`{"documentId":"a"}`:                           {0, "id is missing"},
		`{"id":null,"documentId":"a"}`:                 {0, "id is missing"},
		`{"id":"5","documentId":"a"}`:                  {0, "id is missing"},
		`{"id":-5,"documentId":"a"}`:                   {0, "id is missing"},
		`{"id":99999999999999999999,"documentId":"a"}`: {0, "id is missing"},
		`null`: {0, "not an object"},
		`[]`:   {0, "not an object"},
		`"a"`:  {0, "not an object"},
	} {
		page, fault := parsePage([]byte(`{"data":[{"id":4,"documentId":"before"},`+raw+`,{"id":6,"documentId":"after"}],"meta":{"pagination":{"pageSize":9}}}`), 3)
		require.Empty(t, fault, raw)
		require.Len(t, page.Documents, 2, raw)
		require.Len(t, page.Odd, 1, raw)
		require.Equal(t, want.ID, page.Odd[0].ID, raw)
		require.Contains(t, page.Odd[0].Reason, want.Reason, raw)
		require.EqualValues(t, 6, page.Last, raw)
	}
	page, fault := parsePage([]byte(`{"data":[{"id":5},null],"meta":{"pagination":{"pageSize":9}}}`), 3)
	require.Empty(t, fault)
	require.EqualValues(t, 5, page.Last, "an odd row can be the last one")
	require.Len(t, page.Odd, 1, "a row without an id behind it comes again")
	page, fault = parsePage([]byte(`{"data":[null],"meta":{"pagination":{"pageSize":9}}}`), 5)
	require.Empty(t, fault)
	require.Equal(t, Page{Odd: []OddRow{{0, "the row is not an object"}}, Rows: 1, Size: 9}, page, "and is counted there")
}

func TestClient_List_Request(t *testing.T) {
	t.Parallel()
	var got url.Values
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query()
		answer{status: http.StatusOK, body: `{"data":[],"meta":{"pagination":{"page":1,"pageSize":25,"total":3}}}`}.ServeHTTP(w, r)
	}))
	client := mustClient(t, Config{BaseURL: server.URL + "/rest/v2"})
	page, err := client.List(t.Context(), deals, ListQuery{Version: Draft, PageSize: 100, After: 7, Since: time.Unix(0, 0), Query: Query{Populate: []string{"billings"}}})
	require.NoError(t, err)
	require.Equal(t, 25, page.Size)
	require.Equal(t, "GET /rest/v2/pipeline-deals", page.Op)
	require.Equal(t, url.Values{
		"locale": {"*"}, "sort": {"id:asc"}, "status": {"draft"}, "filters[id][$gt]": {"7"}, "filters[updatedAt][$gte]": {"1970-01-01T00:00:00.000Z"},
		"pagination[pageSize]": {"100"}, "pagination[withCount]": {"false"}, "populate[billings][fields][0]": {"documentId"},
	}, got)
	page, err = client.List(t.Context(), deals, ListQuery{PageSize: 1, Count: true, IDsOnly: true, Query: Query{Populate: []string{"billings"}}})
	require.NoError(t, err)
	require.Equal(t, 3, page.Total)
	require.Equal(t, url.Values{
		"locale": {"*"}, "sort": {"id:asc"}, "status": {"published"}, "pagination[pageSize]": {"1"}, "pagination[withCount]": {"true"}, "fields[0]": {"documentId"},
	}, got)
}
