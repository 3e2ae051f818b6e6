package fakestrapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Locales, as the plugin i18n has them. A document of a localized type has rows
// of its own in each locale, with values and relations of their own, events of
// their own and a publication of their own. In the store each locale is a
// document by itself, under a key of documentId and locale; everything that
// follows links then stays within the locale.

const (
	// defaultLocale is what Strapi takes where a request names none, unless
	// it was set up otherwise.
	defaultLocale = "en"
	// everyLocale is what a list and a DELETE may name in place of a locale.
	everyLocale = "*"
	// localeMark separates the parts of a key. No documentId has it.
	localeMark = "\x00"
)

// In returns the same Strapi, whose document service works in that locale of
// localized types. In the others, which have no locale, it changes nothing.
func (s *Strapi) In(locale string) *Strapi {
	in := *s
	in.locale = locale
	return &in
}

// checkLocale refuses to write in all locales. Any other word is taken, also one
// that is no locale of this Strapi.
func (t *table) checkLocale(locale string) error {
	if t.Localized && locale == everyLocale {
		return rejected("Invalid locale param %s provided. Document locales must be strings.", everyLocale)
	}
	return nil
}

// hiddenKey returns the path in the error about a name that a query may not use: a type
// without locales has the attribute locale, but it is private.
func hiddenKey(name string) string {
	if name == "locale" {
		return name
	}
	return ""
}

// keyed turns the targets of a relation into keys. Strapi leads to the locale of
// the document that is written, to one that the target names, and from a type
// without locales to the default one.
func (l linkEdit) keyed(target *table, locale string) linkEdit {
	key := func(named string) string {
		id, own, _ := strings.Cut(named, localeMark)
		if own == "" {
			own = locale
		}
		return target.key(id, own)
	}
	l.targets, l.remove = slices.Clone(l.targets), slices.Clone(l.remove)
	for i := range l.targets {
		l.targets[i] = key(l.targets[i])
	}
	for i := range l.remove {
		l.remove[i] = key(l.remove[i])
	}
	return l
}

// translate returns the row that a save begins with in a locale which the document
// does not have yet: its shared attributes are those of the other locales. nil:
// there is no such document at all.
func (tx *transaction) translate(key string) *row {
	id, _ := tx.unkey(key)
	r := (&row{}).copy()
	found := false
	for _, where := range []slot{published, draft} { // drafts count more
		for _, other := range tx.keysOf(id) {
			if from := tx.row(other, where); from != nil {
				tx.share(from, r)
				found = true
			}
		}
	}
	if !tx.Localized || !found {
		return nil
	}
	r.id, r.createdAt = tx.nextID(), tx.at
	return r
}

// spreadEach does it for documents in the locale of the document service.
func (s *Strapi) spreadEach(uid string, where slot, documentIDs ...string) {
	if t, err := s.table(uid); err == nil {
		for _, id := range documentIDs {
			s.spread(t, t.key(id, s.locale), where)
		}
	}
}

// spread copies the shared attributes of a saved version to the same version in
// the document's other locales: after the commit, and without an event. Their
// updatedAt moves. (The real one compares with whichever row of the document it
// finds first, so that it sometimes does it without need, and sometimes not.)
func (s *Strapi) spread(t *table, key string, where slot) {
	if !t.Localized || len(t.Shared) == 0 {
		return
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	saved := t.row(key, where)
	if saved == nil {
		return
	}
	id, _ := t.unkey(key)
	for _, other := range t.keysOf(id) {
		r := t.row(other, where)
		if other == key || r == nil {
			continue
		}
		if r = r.copy(); t.share(saved, r) {
			r.updatedAt = s.now()
			t.put(other, t.at(where), r)
		}
	}
}

// share copies the shared attributes, and reports whether that changed any.
func (t *table) share(from, to *row) bool {
	before := maps.Clone(to.values)
	for _, name := range t.Shared {
		if value, ok := from.values[name]; ok {
			to.values[name] = value
		} else {
			delete(to.values, name)
		}
	}
	return !maps.EqualFunc(before, to.values, func(a, b json.RawMessage) bool { return string(a) == string(b) })
}

// localizations returns the document's other rows, of either version, as the event
// of a single unpublication has them.
func (t *table) localizations(key string, where slot) []byte {
	id, _ := t.unkey(key)
	var rows []json.RawMessage
	for _, other := range t.keysOf(id) {
		for version := range slots {
			if r := t.docs[other].rows[version]; r != nil && (other != key || version != where) {
				rows = append(rows, t.payload(other, r, version, scalars))
			}
		}
	}
	return slices.Concat([]byte("["), slices.Concat(joined(rows)...), []byte("]"))
}

func joined(rows []json.RawMessage) [][]byte {
	var parts [][]byte
	for i, r := range rows {
		if i > 0 {
			parts = append(parts, []byte(","))
		}
		parts = append(parts, r)
	}
	return parts
}

// keysOf returns the keys of a document in the locales that it has, in order.
func (t *table) keysOf(documentID string) []string {
	if !t.Localized {
		return []string{documentID}
	}
	var keys []string
	for key := range t.docs {
		if id, _ := t.unkey(key); id == documentID {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// key returns the name under which a type keeps a document. "" means the default locale.
func (t *table) key(documentID, locale string) string {
	if !t.Localized {
		return documentID
	}
	if locale == "" {
		locale = defaultLocale
	}
	return documentID + localeMark + locale
}

// unkey returns the arguments of key; locale is "" where the type has none.
func (t *table) unkey(key string) (documentID, locale string) {
	documentID, locale, _ = strings.Cut(key, localeMark)
	return documentID, locale
}
