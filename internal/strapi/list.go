package strapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ListQuery selects one page of a type's list, in the order of documentIds. The
// cursor is a documentId and no page number: documents that are made or deleted
// between two pages then neither hide others nor show them twice.
type ListQuery struct {
	Query

	Version Version
	// After is the last documentId of the page before; "" for the first page.
	After string
	// Since leaves out documents with an older updatedAt; zero leaves out none.
	Since time.Time
	// PageSize is the number of rows to request, at least 1. Strapi may return
	// smaller pages: its api.rest.maxLimit cuts them.
	PageSize int
}

// Page is one page of a list. For a localized type it has each document once in
// each of its locales, and all locales of a document are on one page.
type Page struct {
	Documents []Document
	// More reports whether another page follows.
	More bool
	// Total counts the rows of this page and of all that follow, each locale of a
	// document by itself; 0 when Strapi did not count.
	Total int
	// Date is Strapi's clock (the Date header); zero when there was none.
	Date time.Time
}

// Last returns the documentId after which the next page begins, "" for an empty page.
func (p Page) Last() string {
	if len(p.Documents) == 0 {
		return ""
	}
	return p.Documents[len(p.Documents)-1].DocumentID
}

// List requests a page of the documents in all locales. It names all of them with
// locale=*, since without a locale Strapi lists the default one, and a read-only
// token may not ask which locales there are. Errors are those of CheckList; a page
// that contradicts itself, as one that was cut short does, is Unreadable.
func (c *Client) List(ctx context.Context, t ContentType, q ListQuery) (Page, error) {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural), query: url.Values{
		"locale":               {"*"},
		"sort[0]":              {"documentId:asc"},
		"pagination[pageSize]": {strconv.Itoa(max(q.PageSize, 1))},
	}}
	if q.Version == Draft {
		r.query.Set("status", "draft")
	}
	if q.After != "" {
		r.query.Set("filters[documentId][$gt]", q.After)
	}
	if !q.Since.IsZero() {
		r.query.Set("filters[updatedAt][$gte]", q.Since.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	q.addTo(r.query)
	page, fault, err := c.page(ctx, r, q.After)
	if fault == emptyButMore {
		page, fault, err = c.page(ctx, r, q.After)
	}
	switch {
	case err != nil:
		return Page{}, err
	case fault != "":
		return Page{}, r.fail(Unreadable, http.StatusOK, fault)
	}
	return page, nil
}

// emptyButMore is a fault that also a healthy Strapi has, once, when the first
// document is made between its two queries, for the rows and for their count. List
// tries once more.
const emptyButMore = "the list is empty, but says that it is not"

func (c *Client) page(ctx context.Context, r request, after string) (page Page, fault string, err error) {
	body, header, err := c.collection(ctx, r)
	if err != nil {
		return Page{}, "", err
	}
	page, fault = parsePage(body, after)
	page.Date, _ = http.ParseTime(header.Get("Date"))
	return page, fault, nil
}

// parsePage reads the answer to a List with this cursor. The second result is what
// is wrong, "" when nothing is.
//
// Failure policy: closed. A document that a list lacks looks deleted, so parsePage
// rejects an answer that is not whole, or not in the order that the next page
// relies on.
func parsePage(body []byte, after string) (Page, string) {
	list, fault := parseListAnswer(body)
	if fault != "" {
		return Page{}, fault
	}
	var page Page
	locales := map[string]bool{} // of the last document
	for _, raw := range list.documents {
		doc, fault := parseDocument(raw)
		switch {
		case fault != "":
			return Page{}, fault
		case doc.DocumentID > after:
			clear(locales)
		case len(locales) == 0, doc.DocumentID < after, locales[doc.Locale]:
			return Page{}, "the list is not in the requested order of documentIds"
		}
		after, locales[doc.Locale] = doc.DocumentID, true
		page.Documents = append(page.Documents, doc)
	}
	p := list.pagination
	switch {
	case p.PageSize < 1:
		return Page{}, "meta.pagination.pageSize is not a positive number"
	case p.Total == nil:
		page.More = len(page.Documents) >= p.PageSize
	default:
		page.Total = *p.Total
		page.More = page.Total > len(page.Documents)
	}
	if page.More && len(page.Documents) == 0 {
		return Page{}, emptyButMore
	}
	if page.More {
		page.Documents = whole(page.Documents)
	}
	return page, ""
}

// whole leaves out the last document where other locales of it may be on the next
// page: pages go on after a documentId. Nothing is left of a page that is too
// short for the locales of one document.
func whole(docs []Document) []Document {
	last := docs[len(docs)-1]
	if last.Locale == "" {
		return docs
	}
	for len(docs) > 0 && docs[len(docs)-1].DocumentID == last.DocumentID {
		docs = docs[:len(docs)-1]
	}
	return docs
}
