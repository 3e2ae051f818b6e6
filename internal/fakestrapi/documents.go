package fakestrapi

import (
	"time"

	"dealbox/internal/strapi"
)

// The document service. Each method is one transaction and sends its events after the
// commit. An error is an *Error, as REST would answer it, or means that the type
// is unknown.

const (
	// publishLead: without drafts publishedAt is set on every write, a few
	// milliseconds before updatedAt (3 to 13 were measured).
	publishLead = 3 * time.Millisecond
	// publishLag: with drafts the published row is made after the draft was
	// saved (7 to 24 ms were measured).
	publishLag = 12 * time.Millisecond
)

// Create makes a document and, where the type has drafts, publishes it: REST's
// POST. Events: entry.create, with drafts also entry.publish.
func (s *Strapi) Create(uid string, values Values) (Entry, error) {
	return s.create(uid, values, true)
}

// CreateDraft makes a document that is not published: POST with status=draft.
func (s *Strapi) CreateDraft(uid string, values Values) (Entry, error) {
	return s.create(uid, values, false)
}

func (s *Strapi) create(uid string, values Values, publish bool) (Entry, error) {
	return s.commit(uid, func(tx *transaction) error {
		if err := tx.checkLocale(s.locale); err != nil {
			return err
		}
		in, err := tx.parse(values, s.locale)
		if err != nil {
			return err
		}
		r := (&row{id: tx.nextID(), createdAt: tx.at}).copy()
		tx.save(tx.key(tx.newDocumentID(), s.locale), r, in)
		tx.emit(entryCreate, tx.edited())
		tx.publishIf(publish)
		return nil
	})
}

// SaveDraft changes the draft alone: PUT with status=draft. Event: entry.update.
func (s *Strapi) SaveDraft(uid, documentID string, values Values) (Entry, error) {
	return s.update(uid, documentID, values, false)
}

// Publish saves the draft with the values (nil: as it is) and publishes it, as
// the content manager's button does. Events: entry.update and entry.publish.
func (s *Strapi) Publish(uid, documentID string, values Values) (Entry, error) {
	entry, err := s.update(uid, documentID, values, true)
	s.spreadEach(uid, draft, documentID) // the button saves first
	return entry, err
}

// SetRelation makes a relation, from either side, lead to exactly the targets.
// Only the named document gets an event and a new updatedAt; the documents at
// the other end change silently.
func (s *Strapi) SetRelation(uid, documentID, relation string, targets ...string) (Entry, error) {
	return s.Update(uid, documentID, Values{relation: map[string]any{"set": targets}})
}

// Update changes a document and, where the type has drafts, publishes it:
// REST's PUT. Values that are not named stay. Events: entry.update, with drafts
// also entry.publish; they are sent even when nothing changes. In a locale that
// the document does not have yet it makes that one: entry.create.
func (s *Strapi) Update(uid, documentID string, values Values) (Entry, error) {
	return s.update(uid, documentID, values, true)
}

func (s *Strapi) update(uid, documentID string, values Values, publish bool) (Entry, error) {
	return s.commit(uid, func(tx *transaction) error {
		if err := tx.checkLocale(s.locale); err != nil {
			return err
		}
		key, event := tx.key(documentID, s.locale), entryUpdate
		before, err := tx.draftOf(key)
		if err != nil {
			if before = tx.translate(key); before == nil {
				return err
			}
			event = entryCreate
		}
		in, err := tx.parse(values, s.locale)
		if err != nil {
			return err
		}
		tx.save(key, before.copy(), in)
		tx.emit(event, tx.edited())
		tx.publishIf(publish)
		tx.saved = append(tx.saved, tx.version)
		return nil
	})
}

// Unpublish takes the published version away. Event: entry.unpublish with the
// published row as it was and its relations as {"count":n}.
func (s *Strapi) Unpublish(uid, documentID string) error {
	_, err := s.commit(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		if !tx.Drafts || tx.row(key, published) == nil {
			return notFound()
		}
		tx.unpublish(key, counted)
		return nil
	})
	return err
}

// BulkUnpublish is the content manager's bulk action: like Unpublish for each
// document that is published, but its events have no relations at all.
func (s *Strapi) BulkUnpublish(uid string, documentIDs ...string) error {
	return s.bulk(uid, documentIDs, func(tx *transaction, id string) {
		if tx.Drafts && tx.row(id, published) != nil {
			tx.unpublish(id, scalars)
		}
	})
}

// BulkPublish publishes drafts as they are. Event: entry.publish alone; it has
// the draft's old updatedAt.
func (s *Strapi) BulkPublish(uid string, documentIDs ...string) error {
	err := s.bulk(uid, documentIDs, func(tx *transaction, id string) {
		if tx.Drafts && tx.row(id, draft) != nil {
			tx.publish(id)
		}
	})
	s.spreadEach(uid, published, documentIDs...)
	return err
}

// DiscardDraft replaces the draft with what is published, under a new row id.
// Event: entry.draft-discard, which only a webhook that asks for it gets.
func (s *Strapi) DiscardDraft(uid, documentID string) (Entry, error) {
	return s.commit(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		r := tx.row(key, published)
		if !tx.Drafts || r == nil {
			return notFound()
		}
		d := r.copy()
		d.id, d.publishedAt = tx.nextID(), time.Time{}
		tx.put(key, draft, d)
		tx.copyInverse(key, published, draft)
		tx.documentID = key
		tx.emit(entryDraftDiscard, draft)
		tx.saved = append(tx.saved, draft)
		return nil
	})
}

// Delete removes a document with all its versions; of a localized type in its
// locale alone, or In("*") in all. Event: entry.delete for
// each version, the published one first, without relations. (A real one's
// database decides which is first.) Whatever pointed to the document points to
// nothing, silently.
func (s *Strapi) Delete(uid, documentID string) error {
	_, err := s.commit(uid, func(tx *transaction) error {
		keys := []string{tx.key(documentID, s.locale)}
		if s.locale == everyLocale {
			keys = tx.keysOf(documentID)
		}
		found := false
		for _, key := range keys {
			if tx.docs[key] != nil {
				found = true
				tx.delete(key)
			}
		}
		if !found {
			return notFound()
		}
		return nil
	})
	return err
}

// BulkDelete deletes those documents that are there, in one transaction. Its
// events come in any order.
func (s *Strapi) BulkDelete(uid string, documentIDs ...string) error {
	return s.bulk(uid, documentIDs, func(tx *transaction, id string) {
		if tx.docs[id] != nil {
			tx.delete(id)
		}
	})
}

// Clone makes a new document from the draft (without drafts: from the
// document) with the values changed. A oneToMany relation moves to the clone:
// silently for the original and for the documents in it. Event: entry.create.
func (s *Strapi) Clone(uid, documentID string, values Values) (Entry, error) {
	return s.commit(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		source := tx.row(key, draft)
		if source == nil {
			return notFound()
		}
		in, err := tx.parse(values, s.locale)
		if err != nil {
			return err
		}
		tx.clone(key, source, in)
		tx.emit(entryCreate, tx.edited())
		return nil
	})
}

// Get returns a document's version as it is now, false when there is none. A type
// without drafts has the same answer for both versions.
func (s *Strapi) Get(uid, documentID string, version strapi.Version) (Entry, bool) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	t, ok := s.store.tables[uid]
	if !ok {
		return Entry{}, false
	}
	return t.entry(t.key(documentID, s.locale), slotOf(version))
}

// List returns every document that has the version, by documentId; of a localized
// type in every locale.
func (s *Strapi) List(uid string, version strapi.Version) []Entry {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	t, ok := s.store.tables[uid]
	if !ok {
		return nil
	}
	return t.entries(slotOf(version))
}
