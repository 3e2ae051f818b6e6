package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tree is the Go code of a module, parsed, and with the names resolved that its
// own packages declare. Nothing is compiled and no dependency is needed: what
// comes from outside the module has no type, so a method that is called on
// such a value, or through an interface, resolves to nothing.
type tree struct {
	root     string
	module   string
	fset     *token.FileSet
	packages map[string]*goPackage // by folder below root, with slashes; "." is the root's
}

type goPackage struct {
	dir   string
	files []*goFile // by name; tests and generated ones, too
	// Of the files that are neither tests nor generated only for what they declare;
	// all non-test files are checked together.
	checked *types.Package
	info    *types.Info
}

type goFile struct {
	name      string
	path      string // below root, with slashes
	lines     int
	test      bool
	generated bool
	ast       *ast.File
}

// byHand reports whether somebody wrote the file, and not for a test.
func (f *goFile) byHand() bool { return !f.test && !f.generated }

var moduleLine = regexp.MustCompile(`(?m)^module\s+(\S+)`)

// load reads the module below root.
func load(root string) (*tree, error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	match := moduleLine.FindSubmatch(mod)
	if match == nil {
		return nil, errors.New("go.mod names no module")
	}
	t := &tree{root: root, module: string(match[1]), fset: token.NewFileSet(), packages: map[string]*goPackage{}}
	names, err := sources(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if path.Ext(name) != ".go" {
			continue
		}
		if err := t.parse(name); err != nil {
			return nil, err
		}
	}
	for _, dir := range t.dirs() {
		t.check(dir)
	}
	return t, nil
}

// sources returns the files below root that are somebody's work, in order,
// relative and with slashes. What tools put there has a name with a dot, or is in one of
// the folders that every tool knows.
func sources(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(at string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if at != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"node_modules", "testdata", "bin", "dist", "vendor"}, d.Name())) {
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, at)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	return names, err
}

func (t *tree) parse(name string) error {
	text, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	if t.packages[dir] == nil {
		t.packages[dir] = &goPackage{dir: dir}
	}
	t.packages[dir].files = append(t.packages[dir].files, &goFile{
		name: path.Base(name), path: name, ast: parsed,
		lines:     strings.Count(string(text), "\n"),
		test:      strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(parsed),
	})
	return nil
}

// dirs returns the folders with packages, in order.
func (t *tree) dirs() []string {
	var dirs []string
	for dir := range t.packages {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// check resolves the names in a package, after those in what it imports. Its
// errors are of what is not known from outside, and are left out.
func (t *tree) check(dir string) *types.Package {
	p := t.packages[dir]
	if p.checked != nil {
		return p.checked
	}
	var files []*ast.File
	for _, f := range p.files {
		if !f.test {
			files = append(files, f.ast)
		}
	}
	p.info = &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer{t}, Error: func(error) {}}
	p.checked, _ = config.Check(path.Join(t.module, dir), t.fset, files, p.info)
	return p.checked
}

type importer struct{ tree *tree }

// Import implements types.Importer.
func (i importer) Import(name string) (*types.Package, error) {
	if dir, ours := strings.CutPrefix(name, i.tree.module+"/"); ours && i.tree.packages[dir] != nil {
		return i.tree.check(dir), nil
	}
	outside := types.NewPackage(name, path.Base(name))
	outside.MarkComplete()
	return outside, nil
}
