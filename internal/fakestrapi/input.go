package fakestrapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Values are attributes and relations to write, by name. A value is anything
// that encodes to the JSON that REST takes; nil is null. A relation is a
// documentId, a list of them, nil, or {connect, disconnect, set} of them.
type Values map[string]any

// edit is a checked Values. A nil value is null.
type edit struct {
	values    map[string]json.RawMessage
	relations map[string]linkEdit
}

// linkEdit changes a relation. With set the targets replace what was there.
type linkEdit struct {
	set             bool
	targets, remove []string
}

// parse checks values against the type, before anything is changed. The
// store's lock is held: relations must lead to documents that are there.
func (t *table) parse(values Values, locale string) (edit, error) {
	e := edit{values: map[string]json.RawMessage{}, relations: map[string]linkEdit{}}
	for name, value := range values {
		raw, err := encode(value)
		if err != nil {
			return edit{}, fmt.Errorf("fake Strapi: encode %s of %s: %w", name, t.UID, err)
		}
		if problem := t.parseOne(e, name, raw, locale); problem != nil {
			return edit{}, problem
		}
	}
	return e, nil
}

func (t *table) parseOne(e edit, name string, raw json.RawMessage, locale string) *Error {
	if a, ok := t.attribute(name); ok {
		value, problem := a.stored(raw)
		e.values[name] = value
		return problem
	}
	if r, ok := t.relation(name); ok {
		l, problem := parseLinks(raw)
		if problem == nil {
			l = l.keyed(t.store.tables[r.Target], locale)
			problem = t.checkTargets(r, l)
		}
		e.relations[name] = l
		return problem
	}
	if reserved(name, t.Drafts) {
		return nil // Strapi leaves out what it sets itself
	}
	return unknownAttribute(name)
}

func (t *table) checkTargets(r Relation, l linkEdit) *Error {
	target := t.store.tables[r.Target]
	for _, id := range l.targets {
		if target.docs[id] == nil {
			named, locale := target.unkey(id)
			if !target.Localized {
				locale = "null"
			}
			return rejected("Document with id %q, locale %q not found", named, locale)
		}
	}
	return nil
}

// parseLinks reads the ways in which Strapi lets a relation be written.
func parseLinks(raw json.RawMessage) (linkEdit, *Error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		targets, ok := parseTargets(raw)
		if !ok {
			return linkEdit{}, rejected("Invalid relations")
		}
		return linkEdit{set: true, targets: targets}, nil
	}
	var ops struct {
		Set        json.RawMessage `json:"set"`
		Connect    json.RawMessage `json:"connect"`
		Disconnect json.RawMessage `json:"disconnect"`
	}
	if json.Unmarshal(raw, &ops) != nil {
		return linkEdit{}, rejected("Invalid relations")
	}
	if id, ok := parseTarget(raw); ok {
		return linkEdit{set: true, targets: []string{id}}, nil
	}
	set, ok1 := parseTargets(ops.Set)
	connect, ok2 := parseTargets(ops.Connect)
	remove, ok3 := parseTargets(ops.Disconnect)
	if !ok1 || !ok2 || !ok3 {
		return linkEdit{}, rejected("Invalid relations")
	}
	return linkEdit{set: ops.Set != nil, targets: slices.Concat(set, connect), remove: remove}, nil
}

// parseTargets reads a documentId, {"documentId"}, a list of either, or null.
func parseTargets(raw json.RawMessage) ([]string, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, true
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var ids []string
	for _, item := range list {
		id, ok := parseTarget(item)
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

func parseTarget(raw json.RawMessage) (string, bool) {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		return id, id != ""
	}
	var object struct {
		DocumentID string `json:"documentId"`
		Locale     string `json:"locale"`
	}
	if json.Unmarshal(raw, &object) != nil || object.DocumentID == "" {
		return "", false
	}
	if object.Locale != "" {
		return object.DocumentID + localeMark + object.Locale, true
	}
	return object.DocumentID, true
}

// applyValues writes the scalar values and the relations that the row itself holds.
func (e edit) applyValues(t *table, r *row) {
	for name, value := range e.values {
		if value == nil {
			delete(r.values, name)
		} else {
			r.values[name] = value
		}
	}
	for name, l := range e.relations {
		if relation, _ := t.relation(name); relation.Kind == ManyToOne {
			l.applyOne(t.store, r, name)
		}
	}
}

// applyOne changes a relation that leads to one document at most.
func (l linkEdit) applyOne(s *store, r *row, name string) {
	switch {
	case len(l.targets) > 0:
		r.links[name] = link{l.targets[len(l.targets)-1], s.nextOrder()}
	case l.set, slices.Contains(l.remove, r.links[name].target):
		delete(r.links, name)
	}
}

// applyInverse changes the rows of other documents that point to this one.
func (e edit) applyInverse(t *table, documentID string, where slot) {
	for name, l := range e.relations {
		if relation, _ := t.relation(name); relation.Kind == OneToMany {
			l.applyMany(t.store.tables[relation.Target], relation.Inverse, documentID, where)
		}
	}
}

// applyMany changes which documents of the owner's type point to the target.
// Those that stay keep their place unless the whole list is set.
func (l linkEdit) applyMany(owner *table, relation, target string, where slot) {
	now := owner.owners(relation, target, where)
	for _, id := range now {
		if gone := l.set && !slices.Contains(l.targets, id); gone || slices.Contains(l.remove, id) {
			owner.setLink(id, owner.at(where), relation, "", 0)
		}
	}
	for _, id := range l.targets {
		if l.set || !slices.Contains(now, id) {
			owner.setLink(id, owner.at(where), relation, target, owner.store.nextOrder())
		}
	}
}
