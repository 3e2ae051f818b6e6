package fakestrapi

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dealbox/internal/strapi"
)

// slot is where a document keeps a version. A type without drafts has the
// published one only.
type slot int

const (
	published slot = iota
	draft
	slots
)

func slotOf(v strapi.Version) slot {
	if v == strapi.Draft {
		return draft
	}
	return published
}

// store is Strapi's database: documents, their rows, and the links between
// them. mu guards everything in it; rows are never changed once they are in it.
type store struct {
	mu     sync.RWMutex
	tables map[string]*table // by UID
	order  int64             // the last place given to a link
	// forbidden are types that the tokens may not read; see Strapi.Forbid.
	forbidden atomic.Pointer[[]string]
	// touched is called for every changed document, with mu held.
	touched func(uid, documentID string)
}

// table holds the documents of one type. Of a localized type each locale is a
// document by itself, and what is called documentID here is its key (locale.go).
type table struct {
	Type
	store *store
	docs  map[string]*document
	// hidden are names that no answer shows; see Strapi.Hide.
	hidden atomic.Pointer[[]string]
	seq    int64 // the last row id given
	// linked is the other direction of the rows' links: target to owners.
	linked map[linkKey]map[string]int64 // documentId of the owner to its order
	// twins are second published rows, by document; odd are rows that are no document.
	twins map[string]*row
	odd   []*oddRow
}

type linkKey struct {
	relation, target string
	slot             slot
}

type document struct {
	id   string
	rows [slots]*row
}

// row is one version of a document: a row in Strapi's table.
type row struct {
	id                   int64
	values               map[string]json.RawMessage // absent: null
	links                map[string]link            // manyToOne relations; absent: none
	createdAt, updatedAt time.Time
	publishedAt          time.Time // zero: a draft
	// json are documentId, the timestamps and the locale as JSON; put fills it.
	json struct{ documentID, createdAt, updatedAt, publishedAt, locale json.RawMessage }
}

// link points to a document. Which of its rows that is depends on the version
// that is read, because a published row points to published rows.
type link struct {
	target string
	order  int64
}

func newStore(types []Type) *store {
	s := &store{tables: map[string]*table{}, touched: func(string, string) {}}
	for _, t := range types {
		if t.Model == "" {
			t.Model = modelOf(t.UID)
		}
		s.tables[t.UID] = &table{Type: t, store: s, docs: map[string]*document{}, linked: map[linkKey]map[string]int64{}}
	}
	return s
}

// issued returns the number of row ids ever used.
func (s *store) issued() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var n uint64
	for _, t := range s.tables {
		n += uint64(max(t.seq, 0))
	}
	return n
}

func (s *store) nextOrder() int64 {
	s.order++
	return s.order
}

func (t *table) nextID() int64 {
	t.seq++
	return t.seq
}

// remove deletes a document with all its rows; whatever pointed to it points
// to nothing, silently.
func (t *table) remove(documentID string) {
	for where := range slots {
		t.drop(documentID, where)
	}
	for _, owner := range t.store.tables {
		for _, r := range owner.Relations {
			if r.Kind == ManyToOne && r.Target == t.UID {
				owner.unlinkAll(r.Name, documentID)
			}
		}
	}
}

func (t *table) unlinkAll(relation, target string) {
	for where := range slots {
		for _, id := range t.owners(relation, target, where) {
			t.setLink(id, t.at(where), relation, "", 0)
		}
	}
}

// setLink points a row's relation to a target, or to nothing. It changes no
// timestamp and sends no event: that is what Strapi does with the other side
// of a relation.
func (t *table) setLink(documentID string, where slot, relation, target string, order int64) {
	d, ok := t.docs[documentID]
	if !ok || d.rows[where] == nil {
		return
	}
	r := d.rows[where].copy()
	if target == "" {
		delete(r.links, relation)
	} else {
		r.links[relation] = link{target, order}
	}
	t.put(documentID, where, r)
}

// put stores a document's version in place of the one before it.
func (t *table) put(documentID string, where slot, r *row) {
	d, ok := t.docs[documentID]
	if !ok {
		d = &document{id: documentID}
		t.docs[documentID] = d
	}
	t.unindex(d, where)
	if where == published {
		delete(t.twins, documentID)
	}
	r.encode(t.unkey(documentID))
	d.rows[where] = r
	for relation, l := range r.links {
		key := linkKey{relation, l.target, where}
		if t.linked[key] == nil {
			t.linked[key] = map[string]int64{}
		}
		t.linked[key][documentID] = l.order
	}
	t.store.touched(t.UID, documentID)
}

// drop removes a document's version, and the document with its last one.
func (t *table) drop(documentID string, where slot) {
	d, ok := t.docs[documentID]
	if !ok {
		return
	}
	t.unindex(d, where)
	if where == published {
		delete(t.twins, documentID)
	}
	d.rows[where] = nil
	if d.rows == [slots]*row{} {
		delete(t.docs, documentID)
	}
	t.store.touched(t.UID, documentID)
}

func (t *table) unindex(d *document, where slot) {
	if d.rows[where] == nil {
		return
	}
	for relation, l := range d.rows[where].links {
		key := linkKey{relation, l.target, where}
		delete(t.linked[key], d.id)
		if len(t.linked[key]) == 0 {
			delete(t.linked, key)
		}
	}
}

// owners returns the documents whose relation points to the target, in the order
// in which they were linked.
func (t *table) owners(relation, target string, wanted slot) []string {
	orders := t.linked[linkKey{relation, target, t.at(wanted)}]
	return slices.SortedFunc(maps.Keys(orders), func(a, b string) int {
		return cmp.Or(cmp.Compare(orders[a], orders[b]), cmp.Compare(a, b))
	})
}

// edited returns the slot that a save changes: the draft, where the type has drafts.
func (t *table) edited() slot { return t.at(draft) }

// row returns a document's version, nil when there is none.
func (t *table) row(documentID string, wanted slot) *row {
	d, ok := t.docs[documentID]
	if !ok {
		return nil
	}
	return d.rows[t.at(wanted)]
}

// at returns the slot in which the type keeps a version.
func (t *table) at(wanted slot) slot {
	if !t.Drafts {
		return published
	}
	return wanted
}

func (r *row) copy() *row {
	c := *r
	c.values = maps.Clone(r.values)
	c.links = maps.Clone(r.links)
	if c.links == nil {
		c.links = map[string]link{}
	}
	if c.values == nil {
		c.values = map[string]json.RawMessage{}
	}
	return &c
}
