package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"slices"
)

// function is one that somebody wrote, with those of the module that it uses.
type function struct {
	name string
	pkg  *goPackage
	file *goFile
	line int
	// lines is from func to the closing brace.
	lines int
	uses  []use // in the order in which they are written
}

// use is one place at which a function is called or handed on as a value.
type use struct {
	of   *function
	line int
}

// functions returns all functions by hand, by package, file and line.
func (t *tree) functions() []*function {
	var all []*function
	declared := map[types.Object]*function{}
	bodies := map[*function]*ast.FuncDecl{}
	for _, dir := range t.dirs() {
		p := t.packages[dir]
		for _, f := range p.files {
			if !f.byHand() {
				continue
			}
			for _, d := range f.ast.Decls {
				decl, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				from, to := t.fset.Position(decl.Pos()).Line, t.fset.Position(decl.End()).Line
				fn := &function{name: decl.Name.Name, pkg: p, file: f, line: from, lines: to - from + 1}
				all = append(all, fn)
				declared[p.info.Defs[decl.Name]] = fn
				bodies[fn] = decl
			}
		}
	}
	for _, fn := range all {
		fn.uses = t.usesIn(bodies[fn], fn, declared)
	}
	return all
}

func (t *tree) usesIn(decl *ast.FuncDecl, fn *function, declared map[types.Object]*function) []use {
	var uses []use
	if decl.Body == nil {
		return nil
	}
	ast.Inspect(decl.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		called, ok := fn.pkg.info.Uses[id].(*types.Func)
		if !ok {
			return true
		}
		if of := declared[called.Origin()]; of != nil && of != fn {
			uses = append(uses, use{of, t.fset.Position(id.Pos()).Line})
		}
		return true
	})
	return uses
}

// upward counts the uses of functions between those of one package, and how
// many of them go up. A reader opens a package's files in readingOrder and each
// from its top; a use goes up when it is of a function that the reader has
// passed by then. Recursion does not count.
type upward struct{ up, all int }

// countUpward takes the functions of one package.
func countUpward(functions []*function) upward {
	count := upward{up: len(upwardCalls(functions))}
	for _, caller := range functions {
		for _, u := range caller.uses {
			if u.of.pkg == caller.pkg {
				count.all++
			}
		}
	}
	return count
}

// upwardCall is a use that goes up.
type upwardCall struct {
	line           int
	caller, callee *function
}

// String returns the call in the form that editors open.
func (c upwardCall) String() string {
	return fmt.Sprintf("%s:%d: %s calls up to %s (%s:%d)", c.caller.file.path, c.line, c.caller.name, c.callee.name, c.callee.file.name, c.callee.line)
}

// upwardCalls takes the functions of one package.
func upwardCalls(functions []*function) []upwardCall {
	position := map[*goFile]int{}
	for i, f := range readingOrder(functions) {
		position[f] = i
	}
	var calls []upwardCall
	for _, caller := range functions {
		for _, u := range caller.uses {
			if u.of.pkg != caller.pkg {
				continue
			}
			if c := cmp.Compare(position[u.of.file], position[caller.file]); c < 0 || c == 0 && u.of.line < caller.line {
				calls = append(calls, upwardCall{u.line, caller, u.of})
			}
		}
	}
	return calls
}

// readingOrder sorts a package's files so that few uses between them go up:
// none, unless files use each other in a circle. The order is the same on every run:
// it starts with the names, and moves one file at a time to where it helps most.
func readingOrder(functions []*function) []*goFile {
	var order []*goFile
	between := map[[2]*goFile]int{}
	for _, caller := range functions {
		if !slices.Contains(order, caller.file) {
			order = append(order, caller.file)
		}
		for _, u := range caller.uses {
			if u.of.pkg == caller.pkg && u.of.file != caller.file {
				between[[2]*goFile{caller.file, u.of.file}]++
			}
		}
	}
	slices.SortFunc(order, func(a, b *goFile) int { return cmp.Compare(a.name, b.name) })
	for moveBest(order, between) {
	}
	return order
}

// moveBest makes the one move that saves most uses that go up; false means that
// none saves any.
func moveBest(order []*goFile, between map[[2]*goFile]int) bool {
	best, from, to := 0, 0, 0
	for i := range order {
		for _, step := range []int{-1, 1} {
			saved := 0
			for j := i + step; j >= 0 && j < len(order); j += step {
				// order[i] passes order[j]: going forward, its uses of order[j] start to go up.
				saved += step * (between[[2]*goFile{order[j], order[i]}] - between[[2]*goFile{order[i], order[j]}])
				if saved > best {
					best, from, to = saved, i, j
				}
			}
		}
	}
	if best == 0 {
		return false
	}
	moved := order[from]
	copy(order, slices.Insert(slices.Delete(slices.Clone(order), from, from+1), to, moved))
	return true
}

// walk is what one reads who starts at a function and follows its calls, each
// function once. A stay is a while in one file; a return is a stay in a file that was
// open before.
type walk struct{ stays, returns int }

// walkFrom follows the calls within the given packages.
func walkFrom(start *function, inside func(*goPackage) bool) walk {
	var w walk
	var at *goFile
	opened := map[*goFile]bool{}
	read := map[*function]bool{}
	open := func(f *goFile) {
		if f == at {
			return
		}
		w.stays++
		if opened[f] {
			w.returns++
		}
		at, opened[f] = f, true
	}
	var follow func(*function)
	follow = func(fn *function) {
		read[fn] = true
		open(fn.file)
		for _, u := range fn.uses {
			if !read[u.of] && inside(u.of.pkg) {
				open(fn.file)
				follow(u.of)
			}
		}
	}
	follow(start)
	return w
}
