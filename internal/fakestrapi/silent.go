package fakestrapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Changes that pass the document service by, as SQL and data imports do: no
// event is sent for them.

// SilentEdit changes every version of a document and leaves its timestamps.
func (s *Strapi) SilentEdit(uid, documentID string, values Values) error {
	return s.silently(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		if tx.docs[key] == nil {
			return notFound()
		}
		in, err := tx.parse(values, s.locale)
		if err != nil {
			return err
		}
		for where := range slots {
			if r := tx.docs[key].rows[where]; r != nil {
				r = r.copy()
				in.applyValues(tx.table, r)
				tx.put(key, where, r)
				in.applyInverse(tx.table, key, where)
			}
		}
		return nil
	})
}

// SilentDelete removes a document with all its versions.
func (s *Strapi) SilentDelete(uid, documentID string) error {
	return s.silently(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		if tx.docs[key] == nil {
			return notFound()
		}
		tx.remove(key)
		return nil
	})
}

// SilentUnpublish removes a document's published version.
func (s *Strapi) SilentUnpublish(uid, documentID string) error {
	return s.silently(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		if !tx.Drafts || tx.row(key, published) == nil {
			return notFound()
		}
		tx.drop(key, published)
		return nil
	})
}

// Import stores an entry exactly as a webhook or REST wrote it: with its id,
// documentId and timestamps. An entry without publishedAt is the draft, where
// the type has drafts. A populated relation is set, a oneToMany one for those
// documents that are there already; {"count"} or a missing one leaves it as it is.
func (s *Strapi) Import(uid string, entry json.RawMessage) error {
	return s.silently(uid, func(tx *transaction) error { return tx.importEntry(entry) })
}

func (s *Strapi) silently(uid string, change func(*transaction) error) error {
	t, err := s.table(uid)
	if err != nil {
		return err
	}
	_, err = (&transaction{table: t, strapi: s, at: s.now()}).run(change)
	return err
}

func (tx *transaction) importEntry(entry json.RawMessage) error {
	var head struct {
		ID          int64      `json:"id"`
		DocumentID  string     `json:"documentId"`
		Locale      string     `json:"locale"`
		CreatedAt   time.Time  `json:"createdAt"`
		UpdatedAt   time.Time  `json:"updatedAt"`
		PublishedAt *time.Time `json:"publishedAt"`
	}
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(entry, &head), json.Unmarshal(entry, &all)); err != nil {
		return fmt.Errorf("fake Strapi: import into %s: %w", tx.UID, err)
	}
	if head.DocumentID == "" {
		return fmt.Errorf("fake Strapi: import into %s: the entry has no documentId", tx.UID)
	}
	if head.ID == 0 {
		head.ID = tx.nextID()
	}
	where := published
	r := &row{id: head.ID, createdAt: head.CreatedAt.UTC(), updatedAt: head.UpdatedAt.UTC()}
	if head.PublishedAt != nil {
		r.publishedAt = head.PublishedAt.UTC()
	} else {
		where = tx.edited()
	}
	key := tx.key(head.DocumentID, head.Locale)
	if before := tx.row(key, where); before != nil {
		r.links = before.links
	}
	return tx.importRow(key, where, r.copy(), all)
}

func (tx *transaction) importRow(documentID string, where slot, r *row, all map[string]json.RawMessage) error {
	in := edit{values: map[string]json.RawMessage{}, relations: map[string]linkEdit{}}
	for _, a := range tx.Attributes {
		value, problem := a.stored(all[a.Name])
		if problem != nil {
			return problem
		}
		in.values[a.Name] = value
	}
	for _, relation := range tx.Relations {
		if raw, ok := all[relation.Name]; ok && !isCount(raw) {
			l, problem := parseLinks(raw)
			if problem != nil {
				return problem
			}
			_, locale := tx.unkey(documentID)
			in.relations[relation.Name] = l.keyed(tx.store.tables[relation.Target], locale)
		}
	}
	in.applyValues(tx.table, r)
	tx.seq = max(tx.seq, r.id)
	tx.put(documentID, where, r)
	in.applyInverse(tx.table, documentID, where)
	return nil
}

func isCount(raw json.RawMessage) bool {
	var object struct {
		Count *int `json:"count"`
	}
	return json.Unmarshal(raw, &object) == nil && object.Count != nil
}
