package strapi

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsePage(t *testing.T) {
	t.Parallel()
	const a, b = `{"documentId":"a"}`, `{"documentId":"b"}`
	const aEN, aFR = `{"documentId":"a","locale":"en"}`, `{"documentId":"a","locale":"fr"}`
	for name, test := range map[string]struct {
		body  string
		more  bool
		fault string
	}{
		"last":           {`{"data":[` + a + `,` + b + `],"meta":{"pagination":{"pageSize":100,"total":2}}}`, false, ""},
		"more":           {`{"data":[` + a + `],"meta":{"pagination":{"pageSize":1,"total":2}}}`, true, ""},
		"short, more":    {`{"data":[` + a + `],"meta":{"pagination":{"pageSize":100,"total":2}}}`, true, ""},
		"no total, full": {`{"data":[` + a + `],"meta":{"pagination":{"pageSize":1}}}`, true, ""},
		"no total, last": {`{"data":[],"meta":{"pagination":{"pageSize":1}}}`, false, ""},
		"empty":          {`{"data":[],"meta":{"pagination":{"pageSize":1,"total":0}}}`, false, ""},
		"cut":            {`{"data":[],"meta":{"pagination":{"pageSize":1,"total":5}}}`, false, "says that it is not"},
		"order":          {`{"data":[` + b + `,` + a + `],"meta":{"pagination":{"pageSize":9,"total":2}}}`, false, "order"},
		"twice":          {`{"data":[` + a + `,` + a + `],"meta":{"pagination":{"pageSize":9,"total":2}}}`, false, "order"},
		"locales":        {`{"data":[` + aEN + `,` + aFR + `,` + b + `],"meta":{"pagination":{"pageSize":9,"total":3}}}`, false, ""},
		"locale twice":   {`{"data":[` + aEN + `,` + aFR + `,` + aEN + `],"meta":{"pagination":{"pageSize":9,"total":3}}}`, false, "order"},
		"torn document":  {`{"data":[` + aEN + `,` + b + `,` + aFR + `],"meta":{"pagination":{"pageSize":9,"total":3}}}`, false, "order"},
		"no page size":   {`{"data":[],"meta":{"pagination":{}}}`, false, "pageSize"},
		"not a list":     {`{"data":null,"meta":{"pagination":{"pageSize":1}}}`, false, "not an array"},
		"bad document":   {`{"data":[{}],"meta":{"pagination":{"pageSize":1}}}`, false, "documentId"},
		"html":           {`<html>`, false, "HTML"},
	} {
		t.Run(name, func(t *testing.T) {
			page, fault := parsePage([]byte(test.body), "")
			if test.fault != "" {
				require.Contains(t, fault, test.fault)
				return
			}
			require.Empty(t, fault)
			require.Equal(t, test.more, page.More)
		})
	}
	_, fault := parsePage([]byte(`{"data":[`+a+`],"meta":{"pagination":{"pageSize":1,"total":1}}}`), "a")
	require.Contains(t, fault, "order", "a page that begins before its cursor would go on for ever")
}

// A page ends with a document whose locales are all on it: the next page begins
// after a documentId.
func TestParsePage_WholeDocuments(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		docs, want string
		more       bool
	}{
		"more may follow":         {"a/de a/en b/de", "a/de a/en", true},
		"more may follow of both": {"a/de b/de b/en", "a/de", true},
		"the end":                 {"a/de a/en b/de", "a/de a/en b/de", false},
		"no locales":              {"a/ b/", "a/ b/", true},
		"nothing is whole":        {"a/de a/en", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			var rows []string
			for _, d := range strings.Fields(test.docs) {
				id, locale, _ := strings.Cut(d, "/")
				rows = append(rows, fmt.Sprintf(`{"documentId":%q,"locale":%q}`, id, locale))
			}
			total := len(rows)
			if test.more {
				total += 7
			}
			page, fault := parsePage(fmt.Appendf(nil, `{"data":[%s],"meta":{"pagination":{"pageSize":%d,"total":%d}}}`,
				strings.Join(rows, ","), len(rows), total), "")
			require.Empty(t, fault)
			var got []string
			for _, d := range page.Documents {
				got = append(got, d.DocumentID+"/"+d.Locale)
			}
			require.Equal(t, test.want, strings.Join(got, " "))
			require.Equal(t, test.more, page.More)
		})
	}
}

// A real Strapi lists and counts in two queries: a first document made in
// between is counted and not listed. That is no broken Strapi; one that goes on so is.
func TestClient_ListDuringAWrite(t *testing.T) {
	t.Parallel()
	const torn = `{"data":[],"meta":{"pagination":{"page":1,"pageSize":100,"pageCount":1,"total":1}}}`
	const whole = `{"data":[{"documentId":"a"}],"meta":{"pagination":{"page":1,"pageSize":100,"pageCount":1,"total":1}}}`
	for _, test := range []struct {
		name    string
		answers []string
		want    ErrorKind
	}{
		{"Once", []string{torn, whole}, ""},
		{"GoesOn", []string{torn, torn, whole}, Unreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer{status: http.StatusOK, body: test.answers[asked.Add(1)-1]}.ServeHTTP(w, r)
			}))
			page, err := mustClient(t, Config{BaseURL: server.URL}).List(t.Context(), deals, ListQuery{PageSize: 100})
			require.Equal(t, test.want, KindOf(err))
			if test.want == "" {
				require.NoError(t, err)
				require.Equal(t, "a", page.Last())
			}
			require.EqualValues(t, 2, asked.Load())
		})
	}
}
