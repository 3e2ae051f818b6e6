package fakestrapi

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Entry is one version of a document, for callers of the document service.
type Entry struct {
	ID         int64
	DocumentID string
	Locale     string // "" where the type has none
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// PublishedAt is nil for a draft.
	PublishedAt *time.Time
	// Attributes has every attribute, private ones too, as JSON; null where empty.
	Attributes map[string]json.RawMessage
	// Relations has the documentIds that each relation leads to.
	Relations map[string][]string
}

// Text returns an attribute as plain text: a string without quotes, "" for null.
func (e Entry) Text(name string) string {
	raw := e.Attributes[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s // null leaves it empty
	}
	return string(raw)
}

func (t *table) entries(where slot) []Entry {
	var list []Entry
	for _, id := range slices.Sorted(maps.Keys(t.docs)) {
		if e, ok := t.entry(id, where); ok {
			list = append(list, e)
		}
	}
	return list
}

func (t *table) entry(documentID string, where slot) (Entry, bool) {
	r := t.row(documentID, where)
	if r == nil {
		return Entry{}, false
	}
	id, locale := t.unkey(documentID)
	e := Entry{
		ID: r.id, DocumentID: id, Locale: locale, CreatedAt: r.createdAt, UpdatedAt: r.updatedAt,
		Attributes: map[string]json.RawMessage{}, Relations: map[string][]string{},
	}
	if !r.publishedAt.IsZero() {
		at := r.publishedAt
		e.PublishedAt = &at
	}
	for _, a := range t.Attributes {
		e.Attributes[a.Name] = orNull(r.values[a.Name])
	}
	for _, relation := range t.Relations {
		for _, key := range t.related(relation, documentID, r, where) {
			target, _ := t.unkey(key)
			e.Relations[relation.Name] = append(e.Relations[relation.Name], target)
		}
	}
	return e, true
}
