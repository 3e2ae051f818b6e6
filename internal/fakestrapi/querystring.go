package fakestrapi

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxIndex is qs's arrayLimit as Strapi sets it: a[101]=x makes an object of
// the array, which no query of ours means. The fake refuses it instead.
const maxIndex = 100

// node is a part of a query string in bracket notation: a[b][0]=c.
type node struct {
	values   []string
	children map[string]*node
	keys     []string // of children, as they came
}

// parseQuery reads a query string as the library qs does.
func parseQuery(raw string) (*node, *Error) {
	root := &node{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		k, err1 := url.QueryUnescape(key)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return nil, rejected("the query parameter %s cannot be decoded", key)
		}
		n := root
		for _, part := range splitKey(k) {
			n = n.child(part)
		}
		n.values = append(n.values, v)
	}
	return root, root.checkIndexes()
}

// splitKey splits a[b][c] into a, b, c.
func splitKey(key string) []string {
	name, rest, nested := strings.Cut(key, "[")
	if !nested {
		return []string{key}
	}
	parts := []string{name}
	for _, p := range strings.Split(rest, "[") {
		parts = append(parts, strings.TrimSuffix(p, "]"))
	}
	return parts
}

func (n *node) child(key string) *node {
	if key == "" { // a[]=x appends
		key = strconv.Itoa(len(n.keys))
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c, ok := n.children[key]
	if !ok {
		c = &node{}
		n.children[key] = c
		n.keys = append(n.keys, key)
	}
	return c
}

func (n *node) checkIndexes() *Error {
	for key, c := range n.children {
		if i, err := strconv.Atoi(key); err == nil && i > maxIndex {
			return rejected("the query has a list with the index %d; a real Strapi reads lists up to %d only", i, maxIndex)
		}
		if problem := c.checkIndexes(); problem != nil {
			return problem
		}
	}
	return nil
}

// get returns a child, nil when it is not there.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	return n.children[key]
}

// value returns the node's own value, the last one if there are several.
func (n *node) value() (string, bool) {
	if n == nil || len(n.values) == 0 {
		return "", false
	}
	return n.values[len(n.values)-1], true
}

// names reads a=x,y too: in sort, fields and populate a comma separates.
func (n *node) names() []string {
	var all []string
	for _, item := range n.items() {
		all = append(all, strings.Split(item, ",")...)
	}
	return all
}

// items reads a[0]=x&a[1]=y and a=x&a=y.
func (n *node) items() []string {
	if n == nil {
		return nil
	}
	all := slices.Clone(n.values)
	for _, key := range n.indexes() {
		all = append(all, n.children[key].items()...)
	}
	return all
}

// indexes returns the children's keys in the order of a list.
func (n *node) indexes() []string {
	keys := slices.Clone(n.keys)
	slices.SortStableFunc(keys, func(a, b string) int {
		i, err1 := strconv.Atoi(a)
		j, err2 := strconv.Atoi(b)
		if err1 != nil || err2 != nil {
			return 0
		}
		return cmp.Compare(i, j)
	})
	return keys
}

// isList reports true for a[0]=x and false for a[b]=x.
func (n *node) isList() bool {
	for _, key := range n.keys {
		if _, err := strconv.Atoi(key); err != nil {
			return false
		}
	}
	return len(n.keys) > 0
}
