package fakestrapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// filter reports whether a row is in the answer.
type filter func(documentID string, r *row) bool

// parseFilter reads filters[…]: $and, $or, $not, fields with operators, and
// fields of a manyToOne relation's document.
func (t *table) parseFilter(n *node, where slot, path string) (filter, *Error) {
	var all []filter
	if n == nil {
		return and(all), nil
	}
	for _, key := range n.keys {
		f, problem := t.parseCondition(key, n.children[key], where, path)
		if problem != nil {
			return nil, problem
		}
		all = append(all, f)
	}
	return and(all), nil
}

func (t *table) parseCondition(key string, n *node, where slot, path string) (filter, *Error) {
	switch key {
	case "$and", "$or":
		return t.parseGroup(key, n, where, path)
	case "$not":
		f, problem := t.parseFilter(n, where, path)
		return func(id string, r *row) bool { return !f(id, r) }, problem
	}
	if relation, ok := t.relation(key); ok && relation.Kind == ManyToOne {
		return t.parseRelated(relation, n, where, path)
	}
	kind, known := t.kind(key)
	if !known {
		return nil, invalidKey("filters", key, cmp.Or(path, hiddenKey(key)))
	}
	return parseField(key, kind, n)
}

func (t *table) parseGroup(key string, n *node, where slot, path string) (filter, *Error) {
	var parts []filter
	for _, index := range n.indexes() {
		f, problem := t.parseFilter(n.children[index], where, path)
		if problem != nil {
			return nil, problem
		}
		parts = append(parts, f)
	}
	if key == "$and" {
		return and(parts), nil
	}
	return or(parts), nil
}

func (t *table) parseRelated(relation Relation, n *node, where slot, path string) (filter, *Error) {
	target := t.store.tables[relation.Target]
	if onNull := n.get("$null"); onNull != nil {
		return func(id string, r *row) bool { return len(t.related(relation, id, r, where)) == 0 }, nil
	}
	inner, problem := target.parseFilter(n, where, strings.TrimPrefix(path+"."+relation.Name, "."))
	return func(id string, r *row) bool {
		ids := t.related(relation, id, r, where)
		return len(ids) == 1 && inner(ids[0], target.row(ids[0], where))
	}, problem
}

// parseField reads the operators on one field.
func parseField(name string, kind AttributeKind, n *node) (filter, *Error) {
	var all []filter
	if v, ok := n.value(); ok {
		f, problem := operate(name, kind, "$eq", []string{v})
		if problem != nil {
			return nil, problem
		}
		all = append(all, f)
	}
	for _, operator := range n.keys {
		f, problem := operate(name, kind, operator, n.children[operator].items())
		if problem != nil {
			return nil, problem
		}
		all = append(all, f)
	}
	return and(all), nil
}

func operate(name string, kind AttributeKind, operator string, operands []string) (filter, *Error) {
	var wanted []json.RawMessage
	for _, o := range operands {
		raw, problem := operand(name, kind, operator, o)
		if problem != nil {
			return nil, problem
		}
		wanted = append(wanted, raw)
	}
	if len(wanted) == 0 && operator != "$in" && operator != "$notIn" {
		return nil, rejected("the operator %s of %s needs a value", operator, name)
	}
	if n, err := strconv.ParseInt(strings.Trim(strings.Join(operands, ""), `"`), 10, 64); name == "id" && operator == "$gt" && err == nil {
		return func(_ string, r *row) bool { return r.id > n }, nil // as fast as what reconciliation asks so often must be
	}
	test, ok := operators[operator]
	if !ok {
		return nil, invalidKey("filters", operator, name)
	}
	return func(_ string, r *row) bool { return test(kind, r.field(name), wanted) }, nil
}

// operand checks a value of the query against the field's kind.
func operand(name string, kind AttributeKind, operator, text string) (json.RawMessage, *Error) {
	if operator == "$null" || operator == "$notNull" {
		return encodeString(text), nil
	}
	raw := encodeString(text)
	if kind == Boolean {
		raw = json.RawMessage(text)
	}
	value, problem := Attribute{Name: name, Kind: kind, Precision: 400, Scale: 30}.stored(raw)
	if problem != nil && kind != Date && kind != DateTime {
		problem = internalError() // Strapi leaves it to Postgres, which refuses it
	}
	return value, problem
}

// operators compare a row's value (nil: null, which no comparison matches)
// with the query's.
var operators = map[string]func(kind AttributeKind, have json.RawMessage, wanted []json.RawMessage) bool{
	"$eq":  among,
	"$in":  among,
	"$ne":  func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool { return !among(k, have, w) },
	"$gt":  func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool { return order(k, have, w, 1) },
	"$gte": func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool { return order(k, have, w, 1, 0) },
	"$lt":  func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool { return order(k, have, w, -1) },
	"$lte": func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool { return order(k, have, w, -1, 0) },
	"$notIn": func(k AttributeKind, have json.RawMessage, w []json.RawMessage) bool {
		return have != nil && !among(k, have, w)
	},
	"$null": func(_ AttributeKind, have json.RawMessage, w []json.RawMessage) bool {
		return (have == nil) == (string(w[0]) != `"false"`)
	},
	"$notNull": func(_ AttributeKind, have json.RawMessage, w []json.RawMessage) bool {
		return (have != nil) == (string(w[0]) != `"false"`)
	},
}

func among(kind AttributeKind, have json.RawMessage, wanted []json.RawMessage) bool {
	return have != nil && slices.ContainsFunc(wanted, func(w json.RawMessage) bool { return compare(kind, have, w) == 0 })
}

func order(kind AttributeKind, have json.RawMessage, wanted []json.RawMessage, allowed ...int) bool {
	return have != nil && slices.Contains(allowed, compare(kind, have, wanted[0]))
}

// compare orders two stored values of a kind; null comes last, as in Postgres.
func compare(kind AttributeKind, a, b json.RawMessage) int {
	if a == nil || b == nil {
		return cmp.Compare(btoi(a == nil), btoi(b == nil))
	}
	if kind == Decimal || kind == Float || kind == Integer || kind == BigInteger {
		x, ok1 := number(strings.Trim(string(a), `"`))
		y, ok2 := number(strings.Trim(string(b), `"`))
		if ok1 && ok2 {
			return x.Cmp(y)
		}
	}
	return bytes.Compare(a, b)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// kind returns the kind by which a field is compared, false when the type has no such field.
func (t *table) kind(name string) (AttributeKind, bool) {
	if t.hides(name) {
		return "", false
	}
	switch name {
	case "id":
		return BigInteger, true
	case "documentId":
		return String, true
	case "createdAt", "updatedAt", "publishedAt":
		return DateTime, true
	}
	if name == "locale" {
		return String, t.Localized
	}
	a, ok := t.attribute(name)
	return a.Kind, ok && !a.Private
}

// field returns a field's stored value; nil is null.
func (r *row) field(name string) json.RawMessage {
	switch name {
	case "id":
		return encodeString(strconv.FormatInt(r.id, 10))
	case "documentId":
		return r.json.documentID
	case "createdAt":
		return r.json.createdAt
	case "updatedAt":
		return r.json.updatedAt
	case "publishedAt":
		return r.json.publishedAt
	case "locale":
		return r.json.locale
	default:
		return r.values[name]
	}
}

func and(parts []filter) filter {
	return func(id string, r *row) bool {
		return !slices.ContainsFunc(parts, func(f filter) bool { return !f(id, r) })
	}
}

func or(parts []filter) filter {
	return func(id string, r *row) bool {
		return slices.ContainsFunc(parts, func(f filter) bool { return f(id, r) })
	}
}
