package realstrapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// The requests of Dealbox are made by its own client, so that one which changes is missing
// in testdata.

var (
	dealType = strapi.ContentType{Kind: strapi.Deal, UID: deals, Plural: "pipeline-deals", Fields: map[string]string{
		"status": "deal_status", "billings": "billings", "construction-billings": "construction_billings",
	}}
	billingType = strapi.ContentType{Kind: strapi.Billing, UID: billings, Plural: "billings", Fields: map[string]string{
		"status": "billing_status", "deal": "deal",
	}}
	constructionType = strapi.ContentType{Kind: strapi.Billing, UID: construction, Plural: "construction-billings", Fields: map[string]string{
		"status": "billing_status", "amount": "total", "deal": "deal",
	}}
)

// reader is Dealbox's client with a read-only token, which notes what it asks.
type reader struct {
	*strapi.Client

	s *session
}

func (s *session) reader() reader {
	s.t.Helper()
	client, err := strapi.New(strapi.Config{BaseURL: s.url(), Token: s.token("read"), Timeout: time.Minute, Transport: noted{s}})
	require.NoError(s.t, err)
	return reader{client, s}
}

// noted is a transport that notes requests and answers.
type noted struct{ s *session }

// RoundTrip implements http.RoundTripper.
func (n noted) RoundTrip(request *http.Request) (*http.Response, error) {
	query, err := url.QueryUnescape(request.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	response, answer, err := n.s.note(request, n.s.aliases.normalize(request.Method+" "+request.URL.Path+"?"+query))
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}

// list requests a list page by page, to its end, which is an empty page.
func (r reader) list(t strapi.ContentType, q strapi.ListQuery) {
	r.s.t.Helper()
	q.Query = r.s.queries[t.UID]
	for {
		page, err := r.List(r.s.t.Context(), t, q)
		require.NoError(r.s.t, err)
		require.Empty(r.s.t, page.Odd)
		if page.Last == 0 {
			return
		}
		q.After, q.Count = page.Last, false
	}
}

// document requests a version of a document.
func (r reader) document(t strapi.ContentType, name, locale string, v strapi.Version) {
	r.s.t.Helper()
	_, err := r.Document(r.s.t.Context(), t, r.s.ids[name], locale, v, r.s.queries[t.UID])
	if strapi.KindOf(err) != strapi.NotFound {
		require.NoError(r.s.t, err)
	}
}

// listed asks whether a list has a version of a document.
func (r reader) listed(t strapi.ContentType, name, locale string, v strapi.Version) {
	r.s.t.Helper()
	_, err := r.Listed(r.s.t.Context(), t, r.s.ids[name], locale, v)
	require.NoError(r.s.t, err)
}

// wholeType returns what Dealbox asks about a type as a whole. These lists have no order, so the
// type must have one document.
func wholeType(t strapi.ContentType) step {
	return step{name: "Dealbox: " + t.Plural + " as a whole", do: func(s *session) {
		r := s.reader()
		q, _, err := mirror.Probe(s.t.Context(), r.Client, t)
		require.NoError(s.t, err)
		s.queries[t.UID] = q
		require.NoError(s.t, r.CheckList(s.t.Context(), t, strapi.Query{Populate: q.Populate}))
		_, err = r.Sample(s.t.Context(), t, q, 25)
		require.NoError(s.t, err)
	}}
}

func dealboxReads() []step {
	read := func(name string, do func(reader)) step {
		return step{name: "Dealbox: " + name, do: func(s *session) { do(s.reader()) }}
	}
	return []step{
		read("list deals", func(r reader) {
			r.list(dealType, strapi.ListQuery{PageSize: 2, Count: true})
			r.list(dealType, strapi.ListQuery{PageSize: 100, Version: strapi.Draft})
		}),
		read("list billings", func(r reader) {
			r.list(billingType, strapi.ListQuery{PageSize: 100})
			r.list(constructionType, strapi.ListQuery{PageSize: 2, Version: strapi.Draft})
		}),
		read("list what was updated", func(r reader) {
			for _, year := range []int{2020, 2120} {
				r.list(billingType, strapi.ListQuery{PageSize: 100, Count: true, Since: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)})
			}
		}),
		read("list ids alone", func(r reader) { r.list(constructionType, strapi.ListQuery{PageSize: 1, IDsOnly: true}) }),
		read("read documents", func(r reader) {
			for _, v := range []strapi.Version{strapi.Published, strapi.Draft} {
				r.document(dealType, "a", "", v)
				r.document(billingType, "b1", "", v)
				r.document(constructionType, "c1", "", v)
			}
		}),
		read("read a document that is not there", func(r reader) {
			for _, v := range []strapi.Version{strapi.Published, strapi.Draft} {
				r.document(dealType, "minimal", "", v)
				r.listed(dealType, "minimal", "", v)
				r.listed(dealType, "a", "", v)
			}
		}),
		read("attributes that Strapi does not have", func(r reader) {
			for _, q := range []strapi.Query{
				{Fields: []string{"documentId", "nothing"}},
				{Fields: []string{"documentId"}, Populate: []string{"nothing"}},
				{Fields: []string{"documentId", "nothing.amount"}},
				{Fields: []string{"documentId", "deal.nothing"}},
			} {
				_, err := r.List(r.s.t.Context(), billingType, strapi.ListQuery{Query: q, PageSize: 100})
				require.Equal(r.s.t, "nothing", strapi.KeyOf(err))
			}
		}),
	}
}

func dealboxLocalizedReads() []step {
	read := func(name string, do func(reader)) step {
		return step{name: "Dealbox: " + name, do: func(s *session) { do(s.reader()) }}
	}
	return []step{
		read("list every locale", func(r reader) {
			r.list(dealType, strapi.ListQuery{PageSize: 3, Count: true})
			r.list(dealType, strapi.ListQuery{PageSize: 100, Version: strapi.Draft})
			r.list(billingType, strapi.ListQuery{PageSize: 100})
			r.list(constructionType, strapi.ListQuery{PageSize: 100})
		}),
		read("read documents in a locale", func(r reader) {
			for _, locale := range []string{"", "fr", "it"} {
				for _, v := range []strapi.Version{strapi.Published, strapi.Draft} {
					r.document(dealType, "a", locale, v)
					r.document(billingType, "b1", locale, v)
					r.listed(dealType, "a", locale, v)
				}
			}
		}),
	}
}
