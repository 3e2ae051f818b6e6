package fakestrapi

import (
	"fmt"
	"time"
)

// transaction is one change of the document service. The store's lock is held
// while it lasts. It must check everything before it changes anything: there is
// no rollback.
type transaction struct {
	*table
	strapi     *Strapi
	at         time.Time
	documentID string // what it was about, for the answer
	version    slot   // which version the answer is
	events     []event
	saved      []slot // whose shared attributes go to the other locales
}

// bulk applies a change to each document; the events come in any order.
func (s *Strapi) bulk(uid string, documentIDs []string, change func(*transaction, string)) error {
	_, err := s.commit(uid, func(tx *transaction) error {
		for _, id := range documentIDs {
			change(tx, tx.key(id, s.locale))
		}
		s.chance.shuffle(len(tx.events), func(i, j int) { tx.events[i], tx.events[j] = tx.events[j], tx.events[i] })
		return nil
	})
	return err
}

// commit runs a change and sends its events afterwards. The time is taken
// before the lock, as Strapi takes updatedAt in Node before the row is locked:
// of two concurrent writers the last can have the lower updatedAt.
func (s *Strapi) commit(uid string, change func(*transaction) error) (Entry, error) {
	t, err := s.table(uid)
	if err != nil {
		return Entry{}, err
	}
	tx := &transaction{table: t, strapi: s, at: s.now(), version: draft}
	entry, err := tx.run(change)
	if err != nil {
		return Entry{}, err
	}
	s.send(tx.events)
	for _, where := range tx.saved {
		s.spread(t, tx.documentID, where)
	}
	return entry, nil
}

func (tx *transaction) run(change func(*transaction) error) (Entry, error) {
	tx.store.mu.Lock()
	defer tx.store.mu.Unlock()
	if err := change(tx); err != nil {
		return Entry{}, err
	}
	entry, _ := tx.entry(tx.documentID, tx.version)
	return entry, nil
}

// draftOf returns the row that a save changes. A document that has only a published
// version (an import can make one) gets a draft from it.
func (tx *transaction) draftOf(documentID string) (*row, error) {
	if r := tx.row(documentID, draft); r != nil {
		return r, nil
	}
	r := tx.row(documentID, published)
	if r == nil {
		return nil, notFound()
	}
	r = r.copy()
	r.id, r.publishedAt = tx.nextID(), time.Time{}
	return r, nil
}

// save stores a changed row as the document's draft (without drafts: as the
// document), with the relations that other rows hold.
func (tx *transaction) save(documentID string, r *row, in edit) {
	in.applyValues(tx.table, r)
	r.updatedAt = tx.at
	if !tx.Drafts {
		r.publishedAt = tx.at.Add(-publishLead)
	}
	tx.put(documentID, tx.edited(), r)
	in.applyInverse(tx.table, documentID, tx.edited())
	tx.documentID = documentID
}

func (tx *transaction) publishIf(wanted bool) {
	if wanted && tx.Drafts {
		tx.publish(tx.documentID)
	}
}

// publish makes a new published row from the draft; updatedAt stays the
// draft's. Relations that other rows hold become those of the drafts.
func (tx *transaction) publish(documentID string) {
	r := tx.row(documentID, draft).copy()
	r.id, r.publishedAt = tx.nextID(), tx.at.Add(publishLag)
	tx.put(documentID, published, r)
	tx.copyInverse(documentID, draft, published)
	tx.documentID, tx.version = documentID, published
	tx.emit(entryPublish, published)
}

// copyInverse makes the same documents point to this one in one version as do
// in the other.
func (tx *transaction) copyInverse(documentID string, from, to slot) {
	for _, r := range tx.Relations {
		owner := tx.store.tables[r.Target]
		if r.Kind == OneToMany && owner.Drafts {
			l := linkEdit{set: true, targets: owner.owners(r.Inverse, documentID, from)}
			l.applyMany(owner, r.Inverse, documentID, to)
		}
	}
}

func (tx *transaction) unpublish(documentID string, shape relationShape) {
	tx.emitGone(entryUnpublish, documentID, published, shape)
	tx.drop(documentID, published)
	tx.documentID = documentID
}

func (tx *transaction) delete(documentID string) {
	for where := range slots {
		if tx.docs[documentID].rows[where] != nil {
			tx.emitGone(entryDelete, documentID, where, scalars)
		}
	}
	tx.remove(documentID)
}

// clone keeps the source's publishedAt, as Strapi does without drafts.
func (tx *transaction) clone(documentID string, source *row, in edit) {
	r := source.copy()
	r.id, r.createdAt, r.updatedAt = tx.nextID(), tx.at, tx.at
	in.applyValues(tx.table, r)
	_, locale := tx.unkey(documentID)
	id := tx.key(tx.newDocumentID(), locale)
	tx.put(id, tx.edited(), r)
	for _, relation := range tx.Relations {
		if relation.Kind != OneToMany {
			continue
		}
		owner := tx.store.tables[relation.Target]
		l := linkEdit{set: true, targets: owner.owners(relation.Inverse, documentID, tx.edited())}
		l.applyMany(owner, relation.Inverse, id, tx.edited())
	}
	in.applyInverse(tx.table, id, tx.edited())
	tx.documentID = id
}

// newDocumentID returns a documentId that the type does not have yet.
func (tx *transaction) newDocumentID() string {
	for {
		if id := tx.strapi.chance.documentID(); tx.docs[tx.key(id, "")] == nil {
			return id
		}
	}
}

// table finds a content type.
func (s *Strapi) table(uid string) (*table, error) {
	t, ok := s.store.tables[uid]
	if !ok {
		return nil, fmt.Errorf("fake Strapi: there is no content type %q", uid)
	}
	return t, nil
}
