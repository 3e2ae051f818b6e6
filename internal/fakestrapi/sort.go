package fakestrapi

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// found is a row of an answer.
type found struct {
	documentID string
	row        *row
	raw        json.RawMessage   // of a row that is no document
	keys       []json.RawMessage // what it is sorted by
}

// sorter is the order of an answer.
type sorter []sortKey

type sortKey struct {
	name string
	kind AttributeKind
	sign int // -1: descending
}

// parseSort reads sort=a:asc,b:desc and sort[0]=a:asc.
func (t *table) parseSort(n *node) (sorter, *Error) {
	var keys sorter
	for _, item := range n.names() {
		name, direction, _ := strings.Cut(item, ":")
		kind, known := t.kind(name)
		sign := map[string]int{"": 1, "asc": 1, "desc": -1}[strings.ToLower(direction)]
		if !known || sign == 0 {
			return nil, invalidKey("sort", name, hiddenKey(name))
		}
		keys = append(keys, sortKey{name, kind, sign})
	}
	return keys, nil
}

// sort orders rows; those that are equal in everything named come by id.
func (s sorter) sort(rows []found) {
	if len(s) == 1 && s[0].name == "id" { // what reconciliation sorts by: ten thousand rows for each page
		slices.SortFunc(rows, func(a, b found) int { return cmp.Compare(a.row.id, b.row.id) * s[0].sign })
		return
	}
	keys := make([]json.RawMessage, 0, len(rows)*len(s))
	for i := range rows {
		for _, k := range s {
			keys = append(keys, rows[i].row.field(k.name))
		}
		rows[i].keys = keys[len(keys)-len(s):]
	}
	slices.SortFunc(rows, func(a, b found) int {
		for i, k := range s {
			if c := compare(k.kind, a.keys[i], b.keys[i]); c != 0 {
				return c * k.sign
			}
		}
		return cmp.Compare(a.row.id, b.row.id)
	})
}
