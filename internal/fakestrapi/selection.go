package fakestrapi

import (
	"errors"
	"slices"
)

// version reads status. Anything but published is draft. Types without drafts
// ignore it.
func (t *table) version(q request) slot {
	status, given := q.query.get("status").value()
	if !t.Drafts || !given || status == "published" {
		return published
	}
	return draft
}

// selection reads fields and populate.
func (t *table) selection(n *node) (selection, error) {
	fields, problem := t.parseFields(n.get("fields"))
	if problem != nil {
		return selection{}, problem
	}
	sel := selection{fields: fields}
	sel.populate, problem = t.parsePopulate(n.get("populate"))
	if problem != nil {
		return selection{}, problem
	}
	return sel, nil
}

func (t *table) parseFields(n *node) ([]string, *Error) {
	names := n.names()
	if slices.Contains(names, "*") {
		return nil, nil
	}
	for _, name := range names {
		if kind, known := t.kind(name); !known || kind == Component {
			return nil, invalidKey("fields", name, hiddenKey(name))
		}
	}
	return names, nil
}

// parsePopulate reads populate=*, populate=a,b, populate[0]=a and
// populate[a][fields][0]=b, deeper ones too.
func (t *table) parsePopulate(n *node) (map[string]selection, *Error) {
	populate := map[string]selection{}
	if n == nil {
		return populate, nil
	}
	if n.isList() || len(n.keys) == 0 {
		return t.populateNames(n.names())
	}
	for _, name := range n.keys {
		if a, isAttribute := t.attribute(name); isAttribute && a.Kind == Component && !t.hides(name) {
			sel, problem := a.selection(n.children[name])
			if problem != nil {
				return nil, problem
			}
			populate[name] = sel
			continue
		}
		relation, known := t.relation(name)
		if !known || t.hides(name) {
			return nil, invalidKey("populate", name, "")
		}
		if t.store.forbids(relation.Target) {
			continue // without a word, as Strapi does
		}
		if v, given := n.children[name].value(); given && v == "false" {
			continue
		}
		sel, err := t.store.tables[relation.Target].selection(n.children[name])
		if err != nil {
			return nil, inPopulate(err)
		}
		populate[name] = sel
	}
	return populate, nil
}

// inPopulate returns the error about a selection inside populate: to Strapi its
// parameter is populate.
func inPopulate(err error) *Error {
	var problem *Error
	if !errors.As(err, &problem) {
		return internalError()
	}
	if details, ok := problem.Details.(keyDetails); ok {
		details.Param = "populate"
		problem.Details = details
	}
	return problem
}

func (t *table) populateNames(names []string) (map[string]selection, *Error) {
	populate := map[string]selection{}
	for _, name := range names {
		if name == "*" || name == "true" {
			return t.allRelations().populate, nil
		}
		if _, known := t.relation(name); !known {
			return nil, invalidKey("populate", name, name)
		}
		populate[name] = selection{}
	}
	return populate, nil
}
