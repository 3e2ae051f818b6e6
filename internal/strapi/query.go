package strapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Query is what a request reads of a document. Its names may be paths with dots,
// which lead through components and relations.
type Query struct {
	// Fields names attributes. Without one that has no dot Strapi returns all of the
	// document's own attributes.
	Fields []string
	// Populate names relations; their documentIds come with the document.
	Populate []string
}

// Names returns all of Fields and Populate.
func (q Query) Names() []string { return slices.Concat(q.Fields, q.Populate) }

// Only returns the query with these names alone.
func (q Query) Only(names ...string) Query {
	return q.filter(func(name string) bool { return slices.Contains(names, name) })
}

// Without returns the query less these names.
func (q Query) Without(names ...string) Query {
	return q.filter(func(name string) bool { return !slices.Contains(names, name) })
}

func (q Query) filter(keep func(string) bool) Query {
	drop := func(name string) bool { return !keep(name) }
	return Query{
		Fields:   slices.DeleteFunc(slices.Clone(q.Fields), drop),
		Populate: slices.DeleteFunc(slices.Clone(q.Populate), drop),
	}
}

func (q Query) addTo(v url.Values) {
	fields := map[string]int{} // how many each parameter has
	add := func(path []string, name string) {
		parameter := "fields"
		if len(path) > 0 {
			parameter = "populate[" + strings.Join(path, "][populate][") + "][fields]"
		}
		v.Set(parameter+"["+strconv.Itoa(fields[parameter])+"]", name)
		fields[parameter]++
	}
	for _, name := range q.Fields {
		path := strings.Split(name, ".")
		add(path[:len(path)-1], path[len(path)-1])
	}
	for _, name := range q.Populate {
		add(strings.Split(name, "."), "documentId")
	}
}

// Named returns the names that are, or as paths contain, a name that Strapi refused. One
// that is the name itself is meant before any path.
func (q Query) Named(key string) []string {
	if slices.Contains(q.Names(), key) {
		return []string{key}
	}
	var all []string
	for _, name := range q.Names() {
		if slices.Contains(strings.Split(name, "."), key) {
			all = append(all, name)
		}
	}
	return all
}
