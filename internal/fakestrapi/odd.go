package fakestrapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// What faults and races of Strapi leave in its database: it shows in lists, and in
// no request for one document.

// oddRow is a row that is no document.
type oddRow struct {
	row

	raw string
}

// AddOddRow puts a row into the type's list of published rows, written as the JSON that is
// given, with the next id in place of %id. It returns the id. Such rows come from a REST
// create with documentId null, for one.
func (s *Strapi) AddOddRow(uid, raw string) (id int64, err error) {
	err = s.silently(uid, func(tx *transaction) error {
		odd := &oddRow{row: row{id: tx.nextID(), createdAt: tx.at, updatedAt: tx.at, publishedAt: tx.at}}
		odd.encode("", "")
		id, odd.raw = odd.id, strings.ReplaceAll(raw, "%id", strconv.FormatInt(odd.id, 10))
		tx.odd = append(tx.odd, odd)
		return nil
	})
	return id, err
}

// RemoveOddRows removes what AddOddRow added to a type.
func (s *Strapi) RemoveOddRows(uid string) error {
	return s.silently(uid, func(tx *transaction) error {
		tx.odd = nil
		return nil
	})
}

// PublishTwice gives a published document a second published row, with the values and the
// publishedAt that are given, as a save that meets a bulk publish does. For the document the
// fake returns the row with the lower id, a real Strapi mostly. The next publication leaves one.
func (s *Strapi) PublishTwice(uid, documentID string, values Values, at time.Time) error {
	return s.silently(uid, func(tx *transaction) error {
		key := tx.key(documentID, s.locale)
		first := tx.row(key, published)
		if first == nil {
			return notFound()
		}
		in, err := tx.parse(values, s.locale)
		if err != nil {
			return err
		}
		twin := first.copy()
		twin.id, twin.publishedAt = tx.nextID(), at.UTC()
		in.applyValues(tx.table, twin)
		twin.encode(tx.unkey(key))
		if tx.twins == nil {
			tx.twins = map[string]*row{}
		}
		tx.twins[key] = twin
		return nil
	})
}

// addOdd adds what the list of a version has beside the documents.
func (t *table) addOdd(rows []found, l listing) []found {
	if t.at(l.where) != published {
		return rows
	}
	for key, twin := range t.twins {
		if l.filter(key, twin) {
			rows = append(rows, found{documentID: key, row: twin})
		}
	}
	for _, odd := range t.odd {
		if l.filter("", &odd.row) {
			rows = append(rows, found{row: &odd.row, raw: json.RawMessage(odd.raw)})
		}
	}
	return rows
}
