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

// Without returns the query less one of its names.
func (q Query) Without(name string) Query {
	isName := func(n string) bool { return n == name }
	return Query{
		Fields:   slices.DeleteFunc(slices.Clone(q.Fields), isName),
		Populate: slices.DeleteFunc(slices.Clone(q.Populate), isName),
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
