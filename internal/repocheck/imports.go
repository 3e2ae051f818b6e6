package main

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// graph has, for each package, those of the module that it imports, in order. Tests
// do not count.
type graph map[string][]string

// imports returns the graph of the packages that the programs below cmd/ are
// made of, and the names of all others.
func (t *tree) imports() (g graph, others []string) {
	all := graph{}
	var programs []string
	for _, dir := range t.dirs() {
		for _, f := range t.packages[dir].files {
			if f.test {
				continue
			}
			all[dir] = append(all[dir], t.importedBy(f)...)
			if f.ast.Name.Name == "main" && strings.HasPrefix(dir, "cmd/") {
				programs = append(programs, dir)
			}
		}
		if _, ok := all[dir]; ok {
			slices.Sort(all[dir])
			all[dir] = slices.Compact(all[dir])
		}
	}
	g = graph{}
	for _, dir := range programs {
		all.reach(dir, g)
	}
	for dir := range all {
		if _, ok := g[dir]; !ok {
			others = append(others, dir)
		}
	}
	slices.Sort(others)
	return g, others
}

// importedBy returns the folders of the module's packages that a file imports.
func (t *tree) importedBy(f *goFile) []string {
	var dirs []string
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if dir, ours := strings.CutPrefix(name, t.module+"/"); ours {
			dirs = append(dirs, path.Clean(dir))
		}
	}
	return dirs
}

// reduced drops each import of what a package reaches through another import, too.
func (g graph) reduced() graph {
	reduced := graph{}
	for _, name := range g.names() {
		indirect := graph{}
		for _, imported := range g[name] {
			for _, next := range g[imported] {
				g.reach(next, indirect)
			}
		}
		reduced[name] = slices.DeleteFunc(slices.Clone(g[name]), func(imported string) bool {
			_, too := indirect[imported]
			return too
		})
	}
	return reduced
}

// reach copies a package and all that it needs to another graph.
func (g graph) reach(dir string, to graph) {
	if _, done := to[dir]; done {
		return
	}
	to[dir] = g[dir]
	for _, imported := range g[dir] {
		g.reach(imported, to)
	}
}

// layers returns how far below the top each package stands: one below the lowest
// of those that import it.
func (g graph) layers() map[string]int {
	importers := graph{}
	for _, name := range g.names() {
		for _, imported := range g[name] {
			importers[imported] = append(importers[imported], name)
		}
	}
	layer := map[string]int{}
	var of func(string) int
	of = func(name string) int {
		if l, ok := layer[name]; ok {
			return l
		}
		l := 0
		for _, importer := range importers[name] {
			l = max(l, of(importer)+1)
		}
		layer[name] = l
		return l
	}
	for _, name := range g.names() {
		of(name)
	}
	return layer
}

// names returns the packages, in order.
func (g graph) names() []string {
	var names []string
	for name := range g {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func labels(dirs []string) []string {
	var all []string
	for _, dir := range dirs {
		all = append(all, label(dir))
	}
	return all
}

// label returns a package's name as people say it.
func label(dir string) string { return strings.TrimPrefix(dir, "internal/") }
