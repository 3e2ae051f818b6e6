package fakestrapi

import (
	"bytes"
	"cmp"
	"net/http"
	"strconv"
)

// getOne serves GET /api/<plural>/<documentId>.
func (s *Strapi) getOne(t *table, q request, fault Fault) ([]byte, error) {
	sel, err := t.selection(q.query)
	if err != nil {
		return nil, err
	}
	where := t.version(q)
	if fault.hides(q.documentID) {
		return nil, notFound()
	}
	return s.one(t, t.key(q.documentID, s.locale), where, sel)
}

// one returns {"data":{…},"meta":{}} for the document under a key.
func (s *Strapi) one(t *table, documentID string, where slot, sel selection) ([]byte, error) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	r := t.row(documentID, where)
	if r == nil {
		return nil, notFound()
	}
	var b bytes.Buffer
	b.WriteString(`{"data":`)
	t.write(&b, documentID, r, where, sel)
	b.WriteString(`,"meta":{}}`)
	return b.Bytes(), nil
}

// listing is a checked list request.
type listing struct {
	where  slot
	sel    selection
	filter filter
	sorter sorter
	page   page
	ids    []string // the only documents that can match; nil: any
	locale string   // of a localized type; "": the default one, "*": all
}

// getList serves GET /api/<plural>.
func (s *Strapi) getList(t *table, q request, fault Fault) ([]byte, int, int, error) {
	l, err := s.parseList(t, q)
	if err != nil {
		return nil, 0, 0, err
	}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	rows := t.find(l, fault)
	from, to := l.page.bounds(len(rows))
	var b bytes.Buffer
	b.WriteString(`{"data":[`)
	for i, f := range rows[from:to] {
		if i > 0 {
			b.WriteByte(',')
		}
		if f.raw != nil {
			b.Write(f.raw)
			continue
		}
		t.write(&b, f.documentID, f.row, l.where, l.sel)
	}
	b.WriteString(`],"meta":{"pagination":`)
	l.page.write(&b, len(rows))
	b.WriteString("}}")
	return b.Bytes(), http.StatusOK, to - from, nil
}

func (s *Strapi) parseList(t *table, q request) (listing, error) {
	l := listing{where: t.version(q)}
	var err error
	if l.sel, err = t.selection(q.query); err != nil {
		return l, err
	}
	var problem *Error
	if l.filter, problem = t.parseFilter(q.query.get("filters"), l.where, ""); problem != nil {
		return l, problem
	}
	if l.sorter, problem = t.parseSort(q.query.get("sort")); problem != nil {
		return l, problem
	}
	if l.page, problem = s.parsePage(q.query.get("pagination")); problem != nil {
		return l, problem
	}
	l.ids, l.locale = q.named, q.locale
	if q.query.get("filters").get("locale") != nil {
		l.locale = everyLocale // a filter takes the parameter's place
	}
	return l, nil
}

// find returns every row that matches l, in its order.
func (t *table) find(l listing, fault Fault) []found {
	var rows []found
	if fault.hidesAll() {
		return nil
	}
	add := func(key string) {
		id, locale := t.unkey(key)
		if t.Localized && l.locale != everyLocale && locale != cmp.Or(l.locale, defaultLocale) {
			return
		}
		if r := t.row(key, l.where); r != nil && !fault.hides(id) && l.filter(key, r) {
			rows = append(rows, found{documentID: key, row: r})
		}
	}
	if l.ids != nil {
		for _, id := range distinct(l.ids) {
			for _, key := range t.keysOf(id) {
				add(key)
			}
		}
	} else {
		for key := range t.docs {
			add(key)
		}
	}
	if l.ids == nil {
		rows = t.addOdd(rows, l)
	}
	l.sorter.sort(rows)
	return rows
}

func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	var list []string
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

// page is a checked pagination: by page and pageSize, or by start and limit.
type page struct {
	byOffset   bool
	start      int
	limit      int // also pageSize
	page       int
	countTotal bool
}

// parsePage reads pagination[…]. Too large a page is cut to MaxLimit and too
// small a one becomes 1, both silently, as Strapi does.
func (s *Strapi) parsePage(n *node) (page, *Error) {
	_, hasPage := n.get("page").value()
	_, hasSize := n.get("pageSize").value()
	_, hasStart := n.get("start").value()
	_, hasLimit := n.get("limit").value()
	p := page{byOffset: hasStart || hasLimit, countTotal: true}
	if p.byOffset && (hasPage || hasSize) {
		return p, &Error{Status: http.StatusBadRequest, Name: "PaginationError", Message: "Cannot use both page & offset pagination in the same query"}
	}
	if v, given := n.get("withCount").value(); given {
		p.countTotal = v != "false" && v != "0"
	}
	name := "pageSize"
	if p.byOffset {
		name = "limit"
	}
	p.limit = max(n.number(name, s.config.DefaultPageSize), 1)
	if s.config.MaxLimit > 0 {
		p.limit = min(p.limit, s.config.MaxLimit)
	}
	p.page = max(n.number("page", 1), 1)
	p.start = (p.page - 1) * p.limit
	if p.byOffset {
		p.start = max(n.number("start", 0), 0)
	}
	return p, nil
}

// number returns a child's whole number, the fallback when it is none.
func (n *node) number(name string, fallback int) int {
	v, _ := n.get(name).value()
	i, err := strconv.Atoi(v)
	if err != nil {
		return fallback
	}
	return i
}

func (p page) bounds(total int) (from, to int) {
	from = min(p.start, total)
	return from, min(from+p.limit, total)
}

func (p page) write(b *bytes.Buffer, total int) {
	first, second, firstValue := "page", "pageSize", p.page
	if p.byOffset {
		first, second, firstValue = "start", "limit", p.start
	}
	b.WriteString(`{"` + first + `":` + strconv.Itoa(firstValue) + `,"` + second + `":` + strconv.Itoa(p.limit))
	if p.countTotal {
		if !p.byOffset {
			b.WriteString(`,"pageCount":` + strconv.Itoa((total+p.limit-1)/p.limit))
		}
		b.WriteString(`,"total":` + strconv.Itoa(total))
	}
	b.WriteByte('}')
}
