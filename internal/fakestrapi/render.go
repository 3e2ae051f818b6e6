package fakestrapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// selection is what of a document is written.
type selection struct {
	// fields are the scalar attributes wanted beside id and documentId; nil: all.
	fields []string
	// populate are the relations wanted, and what of their documents.
	populate map[string]selection
}

// relationShape is how an event writes relations.
type relationShape int

const (
	populated relationShape = iota // one level deep, with every scalar
	counted                        // {"count":n}
	scalars                        // not at all
)

// payload returns the entry of a webhook.
func (t *table) payload(documentID string, r *row, where slot, shape relationShape) json.RawMessage {
	var b bytes.Buffer
	if shape == populated {
		t.write(&b, documentID, r, where, t.allRelations())
		return b.Bytes()
	}
	t.writeScalars(&b, r, selection{})
	for _, relation := range t.Relations {
		if shape == counted {
			writeKey(&b, relation.Name)
			b.WriteString(`{"count":` + strconv.Itoa(len(t.related(relation, documentID, r, where))) + `}`)
		}
	}
	if t.Localized && shape == counted {
		writeKey(&b, "localizations")
		b.Write(t.localizations(documentID, where))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// write writes a row as Strapi does: id, documentId, the attributes in the
// schema's order with explicit nulls, the timestamps, then the relations.
func (t *table) write(b *bytes.Buffer, documentID string, r *row, where slot, sel selection) {
	t.writeScalars(b, r, sel)
	for _, relation := range t.Relations {
		if inner, wanted := sel.populate[relation.Name]; wanted {
			writeKey(b, relation.Name)
			t.writeRelation(b, relation, documentID, r, where, inner)
		}
	}
	for _, a := range t.Attributes {
		if inner, wanted := sel.populate[a.Name]; wanted && a.Kind == Component {
			writeKey(b, a.Name)
			b.Write(inner.component(orNull(r.values[a.Name])))
		}
	}
	b.WriteByte('}')
}

func (t *table) writeScalars(b *bytes.Buffer, r *row, sel selection) {
	b.WriteString(`{"id":`)
	b.WriteString(strconv.FormatInt(r.id, 10))
	writeKey(b, "documentId")
	b.Write(r.json.documentID)
	for _, a := range t.Attributes {
		if !a.Private && a.Kind != Component && !t.hides(a.Name) && sel.wants(a.Name) {
			writeKey(b, a.Name)
			b.Write(orNull(r.values[a.Name]))
		}
	}
	for _, name := range timestamps {
		if sel.wants(name) && !t.hides(name) {
			writeKey(b, name)
			b.Write(orNull(r.field(name)))
		}
	}
	if t.Localized && sel.wants("locale") {
		writeKey(b, "locale")
		b.Write(r.json.locale)
	}
}

func (t *table) writeRelation(b *bytes.Buffer, relation Relation, documentID string, r *row, where slot, sel selection) {
	target := t.store.tables[relation.Target]
	ids := t.related(relation, documentID, r, where)
	if relation.Kind == ManyToOne {
		if len(ids) == 0 {
			b.WriteString("null")
			return
		}
		target.write(b, ids[0], target.row(ids[0], where), where, sel)
		return
	}
	b.WriteByte('[')
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		target.write(b, id, target.row(id, where), where, sel)
	}
	b.WriteByte(']')
}

// related returns the documents that a row's relation leads to, in the version of
// the row: a published row leads to published rows only.
func (t *table) related(relation Relation, documentID string, r *row, where slot) []string {
	target := t.store.tables[relation.Target]
	if relation.Kind == OneToMany {
		return target.owners(relation.Inverse, documentID, where)
	}
	l, linked := r.links[relation.Name]
	if !linked || target.row(l.target, where) == nil {
		return nil
	}
	return []string{l.target}
}

// allRelations selects every attribute, and every relation one level deep.
func (t *table) allRelations() selection {
	s := selection{populate: map[string]selection{}}
	for _, r := range t.Relations {
		s.populate[r.Name] = selection{}
	}
	return s
}

func (s selection) wants(name string) bool {
	return s.fields == nil || slices.Contains(s.fields, name)
}

// timestamps in the order in which Strapi writes them, after the attributes.
var timestamps = []string{"createdAt", "updatedAt", "publishedAt"}

// encode prepares what every answer has. Lists of ten thousand documents are
// compared and written by it.
func (r *row) encode(documentID, locale string) {
	r.json.documentID = encodeString(documentID)
	r.json.locale = encodeString(locale)
	r.json.createdAt = timestamp(r.createdAt)
	r.json.updatedAt = timestamp(r.updatedAt)
	r.json.publishedAt = timestamp(r.publishedAt)
}

func timestamp(at time.Time) json.RawMessage {
	if at.IsZero() {
		return nil
	}
	return json.RawMessage(`"` + at.Format(timeLayout) + `"`)
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

func writeKey(b *bytes.Buffer, name string) {
	b.WriteByte(',')
	b.Write(encodeString(name))
	b.WriteByte(':')
}
