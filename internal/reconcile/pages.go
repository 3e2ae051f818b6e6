package reconcile

import (
	"context"
	"errors"

	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// pages reads a page of both versions, drafts first: a document that is published or
// deleted between the two answers is then seen as what it became.
func (s *sweep) pages(ctx context.Context, t strapi.ContentType) (drafts, published strapi.Page, err error) {
	q := strapi.ListQuery{Version: strapi.Draft, After: s.run.Cursor, PageSize: s.w.cfg.PageSize}
	if s.run.Since != nil {
		q.Since = *s.run.Since
	}
	if has, known := s.drafts[t.UID]; has || !known {
		if drafts, err = s.page(ctx, t, q); err != nil {
			return drafts, published, err
		}
		if s.drafts[t.UID] = hasDrafts(drafts); !s.drafts[t.UID] {
			drafts = strapi.Page{Date: drafts.Date} // the same documents as the published ones
		}
	}
	q.Version = strapi.Published
	published, err = s.page(ctx, t, q)
	return drafts, published, err
}

// page returns one with at least one whole document, else the run could not continue.
func (s *sweep) page(ctx context.Context, t strapi.ContentType, q strapi.ListQuery) (strapi.Page, error) {
	page, err := s.w.source.List(ctx, t, q, s.breaker)
	if err == nil && page.More && len(page.Documents) == 0 {
		err = errors.New("a document has more locales than Strapi lists on one page: raise api.rest.maxLimit in Strapi's config/api")
	}
	return page, err
}

// listed is a document as a list shows it.
type listed struct {
	key     mirror.Key
	version strapi.Version
	doc     strapi.Document
}

// merge makes one range of a type's list from a page of each version. The
// published version counts; a document that has none is its draft, in each locale
// by itself. upto is where both pages reach, "" for the end: nothing is known
// beyond it.
func merge(uid string, drafts, published strapi.Page) (docs []listed, upto string) {
	for _, p := range []strapi.Page{drafts, published} {
		if p.More && (upto == "" || p.Last() < upto) {
			upto = p.Last()
		}
	}
	within := func(d strapi.Document) bool { return upto == "" || d.DocumentID <= upto }
	seen := map[mirror.Key]bool{}
	add := func(p strapi.Page, v strapi.Version) {
		for _, d := range p.Documents {
			key := mirror.Key{UID: uid, DocumentID: d.DocumentID, Locale: d.Locale}
			if within(d) && !seen[key] {
				seen[key] = true
				docs = append(docs, listed{key, v, d})
			}
		}
	}
	add(published, strapi.Published)
	add(drafts, strapi.Draft)
	return docs, upto
}

// hasDrafts reports whether a type has drafts, by its list of drafts: those are never
// published. For a type without drafts Strapi lists what is published.
func hasDrafts(drafts strapi.Page) bool {
	for _, d := range drafts.Documents {
		if d.PublishedAt != nil {
			return false
		}
	}
	return true
}
