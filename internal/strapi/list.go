package strapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ListQuery selects one page of a type's list, in the order of row ids. The cursor is
// a row id: ids are numbers, so every database orders them alike, and they only
// grow, so what is made while the pages are read comes on a later one.
type ListQuery struct {
	Query

	Version Version
	// After is the last row id of the page before; 0 for the first page.
	After int64
	// Since leaves out documents with an older updatedAt; zero leaves out none.
	Since time.Time
	// PageSize is the number of rows to request, at least 1. Strapi may return
	// smaller pages: its api.rest.maxLimit cuts them.
	PageSize int
	// Count has Strapi count all rows: Page.Total.
	Count bool
	// IDsOnly leaves out all attributes, for a row that is too large to be read whole.
	IDsOnly bool
}

// Page is one page of a list. One without a Last is the end.
type Page struct {
	// Documents are the rows, each a version of a document in one locale.
	Documents []Document
	// Odd are rows that are no documents.
	Odd []OddRow
	// Last is the highest row id of the page, behind which the next one begins; 0 when
	// no row has one. Odd rows behind it come again on the next page, so they are left out.
	Last int64
	// Rows counts all rows, and Size is the page size that Strapi says it used.
	Rows, Size int
	// Total counts the rows of this page and of all that follow; 0 when Count was not set.
	Total int
	// Date is Strapi's clock (the Date header); zero when there was none.
	Date time.Time
	// Op names the request in errors.
	Op string
}

// OddRow is a row of a list that is no document, such as one without a documentId.
type OddRow struct {
	ID     int64  // 0 when it cannot be read
	Reason string // for people
}

// List requests a page of the documents in all locales. It names all of them with
// locale=*, since without a locale Strapi lists the default one, and a read-only
// token may not ask which locales there are. Errors are those of CheckList; a page
// that is not in the requested order is Unreadable.
func (c *Client) List(ctx context.Context, t ContentType, q ListQuery) (Page, error) {
	r := request{api: c.path, path: "/" + url.PathEscape(t.Plural), query: url.Values{
		"locale":                {"*"},
		"sort":                  {"id:asc"},
		"status":                {string(Published)},
		"pagination[pageSize]":  {strconv.Itoa(max(q.PageSize, 1))},
		"pagination[withCount]": {strconv.FormatBool(q.Count)},
	}}
	if q.Version == Draft {
		r.query.Set("status", string(Draft))
	}
	if q.After > 0 {
		r.query.Set("filters[id][$gt]", strconv.FormatInt(q.After, 10))
	}
	if !q.Since.IsZero() {
		r.query.Set("filters[updatedAt][$gte]", q.Since.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if q.IDsOnly {
		r.query.Set("fields[0]", "documentId")
	} else {
		q.addTo(r.query)
	}
	body, header, err := c.collection(ctx, r)
	if err != nil {
		return Page{}, err
	}
	page, fault := parsePage(body, q.After)
	if fault != "" {
		return Page{}, r.fail(Unreadable, http.StatusOK, fault)
	}
	page.Date, _ = http.ParseTime(header.Get("Date"))
	page.Op = r.op()
	return page, nil
}

// parsePage reads the answer to a List with this cursor. The second result is what
// is wrong, "" when nothing is.
//
// Failure policy: closed. A document that a list lacks looks deleted, so parsePage
// rejects a full page that is not in the order on which the next page relies. One that
// is not full, or longer than a page, is all that there is. A row that is no document
// does not spoil the others: it is an OddRow.
func parsePage(body []byte, after int64) (Page, string) {
	list, fault := parseListAnswer(body)
	if fault != "" {
		return Page{}, fault
	}
	page := Page{Rows: len(list.documents), Size: list.pagination.PageSize}
	if page.Size < 1 {
		return Page{}, "meta.pagination.pageSize is not a positive number"
	}
	if list.pagination.Total != nil {
		page.Total = *list.pagination.Total
	}
	if fault := page.read(list.documents, after); fault != "" {
		return Page{}, fault
	}
	return page, ""
}

// read takes the rows of an answer into the page and returns what is wrong with them.
func (page *Page) read(rows []json.RawMessage, after int64) (fault string) {
	last, trailing := after, 0        // trailing rows have no id
	isWhole := page.Rows != page.Size // nothing was cut off, so that the next page relies on no order
	for _, raw := range rows {
		doc, odd := parseRow(raw)
		id := max(doc.ID, odd.ID)
		switch {
		case odd.Reason == strapi4:
			return odd.Reason
		case isWhole && id > 0 && id <= after:
			page.Rows-- // the filter was ignored: an earlier page had it
			continue
		case !isWhole && id > 0 && id <= after:
			return fmt.Sprintf("a full page of the list has row %d although rows behind %d were requested. %s", id, after, queryDropped)
		case !isWhole && id > 0 && id < last:
			return fmt.Sprintf("a full page of the list has row %d behind row %d although the order of row ids was requested. %s", id, last, queryDropped)
		case odd.Reason != "":
			page.Odd = append(page.Odd, odd)
		default:
			page.Documents = append(page.Documents, doc)
		}
		last, trailing = max(last, id), trailing+1
		if id > 0 {
			trailing = 0
		}
	}
	if last > after {
		page.Last = last
		page.Odd = page.Odd[:max(len(page.Odd)-trailing, 0)] // they come again on the next page
	}
	return ""
}

// queryDropped is why a list is not what was requested, and what to do.
const queryDropped = "Something in front of Strapi, a proxy or a cache, drops the query (sort, filters), so documents could be missing: " +
	"let it pass queries as they are, or give Strapi's own address as STRAPI_URL"

// strapi4 is a fault that speaks about Strapi, and not about a row.
const strapi4 = "the rows have attributes and no documentId, as those of Strapi 4; Dealbox needs Strapi 5"

// parseRow reads a row of a list: as a document, or as an OddRow with a reason.
func parseRow(raw json.RawMessage) (Document, OddRow) {
	var members map[string]json.RawMessage
	if !isObject(raw) || json.Unmarshal(raw, &members) != nil {
		return Document{}, OddRow{Reason: "the row is not an object"}
	}
	id := max(takeInt(members, "id"), 0)
	if members["documentId"] == nil && isObject(members["attributes"]) {
		return Document{}, OddRow{ID: id, Reason: strapi4}
	}
	doc, fault := parseDocument(raw)
	switch {
	case fault != "":
		return Document{}, OddRow{ID: id, Reason: strings.TrimPrefix(fault, "data.")}
	case id == 0:
		return Document{}, OddRow{Reason: "id is missing or no positive number"}
	case textFault(doc.Locale, maxIdentifier) != "":
		return Document{}, OddRow{ID: id, Reason: "locale " + textFault(doc.Locale, maxIdentifier)}
	}
	return doc, OddRow{}
}
