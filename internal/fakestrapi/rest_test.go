package fakestrapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withDeals makes n deals named a, b, c …, worth 1, 2, 3 …
func withDeals(r *rig, n int) []Entry {
	r.t.Helper()
	var all []Entry
	for i := range n {
		all = append(all, r.mustCreate(DealUID, Values{"name": string(rune('a' + i)), "deal_value": i + 1}))
	}
	return all
}

func TestREST_Pages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxLimit, c.DefaultPageSize = 4, 2 })
	withDeals(r, 5)
	for query, want := range map[string]string{
		"":                         `2 {"page":1,"pageSize":2,"pageCount":3,"total":5}`,
		"pagination[page]=3":       `1 {"page":3,"pageSize":2,"pageCount":3,"total":5}`,
		"pagination[page]=9":       `0 {"page":9,"pageSize":2,"pageCount":3,"total":5}`,
		"pagination[pageSize]=0":   `1 {"page":1,"pageSize":1,"pageCount":5,"total":5}`,
		"pagination[pageSize]=100": `4 {"page":1,"pageSize":4,"pageCount":2,"total":5}`,
		"pagination[pageSize]=3&pagination[withCount]=false":       `3 {"page":1,"pageSize":3}`,
		"pagination[start]=1&pagination[limit]=3":                  `3 {"start":1,"limit":3,"total":5}`,
		"pagination[limit]=-1":                                     `1 {"start":0,"limit":1,"total":5}`,
		"pagination[limit]=1000":                                   `4 {"start":0,"limit":4,"total":5}`,
		"pagination[start]=4&pagination[withCount]=0":              `1 {"start":4,"limit":2}`,
		"pagination%5Bpage%5D=2&pagination%5BpageSize%5D=4":        `1 {"page":2,"pageSize":4,"pageCount":2,"total":5}`,
		"locale=fr&pagination[pageSize]=4&status=draft&unknown[]=": `4 {"page":1,"pageSize":4,"pageCount":2,"total":5}`,
	} {
		a := r.get("/api/pipeline-deals?" + query)
		_, meta, _ := strings.Cut(a.body, `"meta":{"pagination":`)
		require.Equal(t, want, fmt.Sprint(len(listed(t, a)), " ", strings.TrimSuffix(meta, "}}")), query)
	}
	require.Equal(t, 400, r.get("/api/pipeline-deals?pagination[page]=1&pagination[limit]=2").status)
}

func TestREST_Filters(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Now = newClock().Now })
	deals := withDeals(r, 4)
	a, b, c, d := deals[0], deals[1], deals[2], deals[3]
	r.mustCreate(BillingUID, Values{"deal": a.DocumentID, "amount": 1})
	lonely := r.mustCreate(BillingUID, Values{"amount": 1})
	at := url.QueryEscape(b.UpdatedAt.Format(timeLayout))
	byID := []string{a.DocumentID, b.DocumentID, c.DocumentID, d.DocumentID}
	slices.Sort(byID)
	for query, want := range map[string][]string{
		"filters[documentId][$in][0]=" + c.DocumentID + "&filters[documentId][$in][1]=nothere&filters[documentId][$in][2]=" + a.DocumentID: {a.DocumentID, c.DocumentID},
		"filters[documentId][$eq]=" + b.DocumentID:                          {b.DocumentID},
		"filters[documentId]=" + b.DocumentID:                               {b.DocumentID},
		"filters[updatedAt][$gte]=" + at:                                    {b.DocumentID, c.DocumentID, d.DocumentID},
		"filters[updatedAt][$gt]=" + at:                                     {c.DocumentID, d.DocumentID},
		"filters[updatedAt][$lt]=" + at:                                     {a.DocumentID},
		"filters[updatedAt][$lte]=" + at:                                    {a.DocumentID, b.DocumentID},
		"filters[documentId][$gt]=" + byID[2] + "&sort=documentId":          byID[3:],
		"filters[deal_value][$gt]=2&filters[deal_value][$lt]=4":             {c.DocumentID},
		"filters[name][$ne]=a&filters[name][$notIn][0]=b":                   {c.DocumentID, d.DocumentID},
		"filters[owner][$null]=true&filters[name][$notNull]=true":           {a.DocumentID, b.DocumentID, c.DocumentID, d.DocumentID},
		"filters[$or][0][name]=a&filters[$or][1][$and][0][name][$eq]=d":     {a.DocumentID, d.DocumentID},
		"filters[$not][name][$in][0]=a":                                     {b.DocumentID, c.DocumentID, d.DocumentID},
		"sort[0]=updatedAt:desc&sort[1]=documentId:asc&pagination[limit]=2": {d.DocumentID, c.DocumentID},
		"sort=owner:asc,deal_value:desc":                                    {d.DocumentID, c.DocumentID, b.DocumentID, a.DocumentID},
	} {
		require.Equal(t, want, listed(t, r.get("/api/pipeline-deals?"+query)), query)
	}
	require.Len(t, listed(t, r.get("/api/billings?filters[deal][documentId][$eq]="+a.DocumentID)), 1)
	require.Equal(t, []string{lonely.DocumentID}, listed(t, r.get("/api/billings?filters[deal][$null]=true")))
}

func TestREST_Selection(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deal := r.mustCreate(DealUID, Values{"name": "A – Ü <b>&", "deal_value": 1.5})
	billing := r.mustCreate(BillingUID, Values{"deal": deal.DocumentID})
	path := "/api/pipeline-deals/" + deal.DocumentID
	idOnly := fmt.Sprintf(`{"id":1,"documentId":%q}`, billing.DocumentID)
	for query, want := range map[string]string{
		"fields[0]=name&fields[1]=deal_value":                                   `{"id":1,"documentId":"` + deal.DocumentID + `","name":"A – Ü <b>&","deal_value":1.5}`,
		"fields[0]=documentId&populate[billings][fields][0]=documentId":         `{"id":1,"documentId":"` + deal.DocumentID + `","billings":[` + idOnly + `]}`,
		"fields=name,deal_id&populate[0]=billings&populate[billings]=false":     ``,
		"fields=documentId&populate[billings][fields][0]=documentId&status=foo": `{"id":1,"documentId":"` + deal.DocumentID + `","billings":[` + idOnly + `]}`,
	} {
		if want != "" {
			require.Equal(t, `{"data":`+want+`,"meta":{}}`, r.get(path+"?"+query).body, query)
		}
	}
	require.NotContains(t, r.get(path).body, "billings")
	require.Contains(t, r.get(path+"?populate=*").body, `"billings":[{"id":1,`)
	require.Contains(t, r.get(path+"?populate=billings").body, `"billings":[{"id":1,`)
	require.Contains(t, r.get("/api/billings?populate[deal][fields][0]=documentId").body, `"deal":{"id":1,"documentId":"`+deal.DocumentID+`"}`)
}

func TestREST_Errors(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { withDrafts(c); c.Forbidden = []string{"billings"} })
	deal := r.mustCreate(DealUID, nil)
	long := strings.Repeat("x", 9000)
	const missing = `{"data":null,"error":{"status":404,"name":"NotFoundError","message":"Not Found","details":{}}}`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/pipeline-deals/nothere", "", 404, missing},
		{"GET", "/api/pipeline-deals/1", "", 404, missing},
		{"GET", "/api/pipeline-deals/" + long, "", 404, missing},
		{"GET", "/api/ghosts", "", 404, missing},
		{"GET", "/api/pipeline-deals/a/b", "", 404, missing},
		{"GET", "/", "", 404, missing},
		{"PATCH", "/api/pipeline-deals", "", 405, `Method Not Allowed`},
		{"GET", "/api/billings", "", 403, `{"data":null,"error":{"status":403,"name":"ForbiddenError","message":"Forbidden","details":{}}}`},
		{"GET", "/api/pipeline-deals?filters[ghost][$eq]=1", "", 400, `{"data":null,"error":{"status":400,"name":"ValidationError","message":"Invalid key ghost","details":{"key":"ghost","path":null,"source":"query","param":"filters"}}}`},
		{"GET", "/api/pipeline-deals?filters[name][$like]=1", "", 400, `Invalid key $like`},
		{"GET", "/api/pipeline-deals?filters[updatedAt][$gt]=yesterday", "", 400, `"message":"Invalid format, expected a timestamp or an ISO date"`},
		{"GET", "/api/pipeline-deals?sort=ghost", "", 400, `Invalid key ghost`},
		{"GET", "/api/pipeline-deals?fields[0]=ghost", "", 400, `Invalid key ghost`},
		{"GET", "/api/pipeline-deals?populate[ghost]=*", "", 400, `Invalid key ghost`},
		{"GET", "/api/pipeline-deals?populate=ghost", "", 400, `Invalid key ghost`},
		{"GET", "/api/pipeline-deals?status=live", "", 200, `"data":[`},
		{"GET", "/api/pipeline-deals?filters[documentId][$in][101]=x", "", 400, `ValidationError`},
		{"POST", "/api/pipeline-deals", `{}`, 400, `Missing \"data\" payload`},
		{"POST", "/api/pipeline-deals", `{"data":{"ghost":1}}`, 400, `Invalid key ghost`},
		{"POST", "/api/pipeline-deals", `{"data":{"billings":["nothere"]}}`, 400, `Document with id \"nothere\", locale \"null\" not found`},
		{"POST", "/api/pipeline-deals", `{"data":{"deal_value":123456789.01}}`, 500, `{"data":null,"error":{"status":500,"name":"InternalServerError","message":"Internal Server Error"}}`},
		{"PUT", "/api/pipeline-deals/nothere", `{"data":{}}`, 404, missing},
		{"DELETE", "/api/pipeline-deals/nothere", "", 204, ``},
		{"DELETE", "/api/pipeline-deals/" + deal.DocumentID + "?status=draft", "", 500, `InternalServerError`},
	} {
		a := r.call(c.method, c.path, c.body)
		require.Equal(t, c.status, a.status, "%s %.80s: %s", c.method, c.path, a.body)
		require.Contains(t, a.body, c.want, "%s %.80s", c.method, c.path)
	}
}

func TestREST_Token(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.ReadToken = "the-read-only-token" })
	for _, bad := range []string{"", "wrong", token + "x"} {
		a, err := r.try("GET", "/api/pipeline-deals", "", bad)
		require.NoError(t, err)
		require.Equal(t, 401, a.status)
		require.Equal(t, `{"data":null,"error":{"status":401,"name":"UnauthorizedError","message":"Missing or invalid credentials","details":{}}}`, a.body) //nolint:testifylint // the bytes count
		a, err = r.try("GET", "/api/ghosts", "", bad)
		require.NoError(t, err)
		require.Equal(t, 404, a.status, "the route comes before the token")
	}
	require.Equal(t, 200, r.get("/api/pipeline-deals").status)
	require.Equal(t, 201, r.call("POST", "/api/pipeline-deals", `{"data":{}}`).status)
	for method, status := range map[string]int{"GET": 200, "POST": 403} {
		a, err := r.try(method, "/api/pipeline-deals", `{"data":{}}`, "the-read-only-token")
		require.NoError(t, err)
		require.Equal(t, status, a.status)
	}
}

func TestREST_DateHeaderIsTheClock(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	r := newRig(t, func(c *Config) { c.Now = func() time.Time { return at } })
	a := r.get("/api/pipeline-deals")
	require.Equal(t, at.Format(http.TimeFormat), a.header.Get("Date"))
	require.Equal(t, "application/json; charset=utf-8", a.header.Get("Content-Type"))
	require.Equal(t, `{"data":[],"meta":{"pagination":{"page":1,"pageSize":25,"pageCount":0,"total":0}}}`, a.body) //nolint:testifylint // the bytes count
}

func TestREST_Latency(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Latency = Latency{Request: 20 * time.Millisecond, Document: 10 * time.Millisecond} })
	withDeals(r, 3)
	began := time.Now()
	r.get("/api/pipeline-deals")
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
}
