package fakestrapi

import (
	"encoding/json"
	"slices"
)

// Hide makes these names of a type private, as a change of its schema does, and shows all
// others again. A name is of an attribute, a relation, or updatedAt and its like, which
// api.responses.privateAttributes hides. Documents keep their values.
func (s *Strapi) Hide(uid string, names ...string) { s.store.tables[uid].hidden.Store(&names) }

func (t *table) hides(name string) bool {
	hidden := t.hidden.Load()
	return hidden != nil && slices.Contains(*hidden, name)
}

// Forbid takes from the tokens the right to read these types, and gives it back for all
// others. Their routes answer 403, and relations to them are left out of answers.
func (s *Strapi) Forbid(uids ...string) { s.store.forbidden.Store(&uids) }

func (s *store) forbids(uid string) bool {
	forbidden := s.forbidden.Load()
	return forbidden != nil && slices.Contains(*forbidden, uid)
}

// selection reads what is wanted of a component.
func (a Attribute) selection(n *node) (selection, *Error) {
	sel := selection{populate: map[string]selection{}, fields: n.get("fields").names()}
	for _, name := range sel.fields {
		if inner, known := a.inner(name); name != "id" && (!known || inner.Kind == Component) {
			return sel, invalidKey("populate", name, "")
		}
	}
	if n.get("populate") == nil {
		return sel, nil
	}
	for _, name := range n.get("populate").keys {
		inner, known := a.inner(name)
		if !known || inner.Kind != Component {
			return sel, invalidKey("populate", name, "")
		}
		deeper, problem := inner.selection(n.get("populate").get(name))
		if problem != nil {
			return sel, problem
		}
		sel.populate[name] = deeper
	}
	return sel, nil
}

func (a Attribute) inner(name string) (Attribute, bool) {
	i := slices.IndexFunc(a.Of, func(o Attribute) bool { return o.Name == name })
	if i < 0 {
		return Attribute{}, false
	}
	return a.Of[i], true
}

// component returns what is wanted of a component's value.
func (s selection) component(raw json.RawMessage) json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && list != nil {
		for i := range list {
			list[i] = s.component(list[i])
		}
		return mustEncode(list)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return raw
	}
	for name, value := range members {
		inner, populated := s.populate[name]
		switch {
		case populated:
			members[name] = inner.component(value)
		case len(value) > 0 && value[0] == '{', !s.wants(name):
			delete(members, name)
		}
	}
	return mustEncode(members)
}

func mustEncode(v any) json.RawMessage {
	raw, err := encode(v)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return raw
}
