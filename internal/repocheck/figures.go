package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// report has the figures of a tree. Lines are all lines of a file, comments and
// empty ones, too.
type report struct {
	packages []packageFigures
	total    packageFigures
	// Functions of all packages by hand, without tests, the longest first.
	functions []*function
	longest   *goFile
	alertWalk *walk // nil when there is no alerting.Raise
	banned    []finding
	subjects  *subjects // nil when no base was given
}

type packageFigures struct {
	dir        string
	files      int
	lines      int // by hand, without tests
	testLines  int
	generated  int
	longest    int // lines of the longest function
	exported   int
	documented int
	calls      upward
}

// measure reads the tree below root.
func measure(root string) (*report, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	r := &report{functions: t.functions(), total: packageFigures{dir: "all"}}
	if r.banned, err = findWords(root, bannedWords()); err != nil {
		return nil, err
	}
	for _, dir := range t.dirs() {
		p := t.packages[dir]
		figures := packageFigures{dir: dir}
		for _, f := range p.files {
			figures.count(f)
			if f.byHand() && (r.longest == nil || f.lines > r.longest.lines) {
				r.longest = f
			}
		}
		figures.calls = countUpward(functionsOf(r.functions, p))
		for _, fn := range functionsOf(r.functions, p) {
			figures.longest = max(figures.longest, fn.lines)
		}
		r.packages = append(r.packages, figures)
		r.total.add(figures)
	}
	if raise := findFunction(r.functions, "alerting", "Raise"); raise != nil {
		w := walkFrom(raise, func(p *goPackage) bool { return lastOf(p.dir) == "alerting" || lastOf(p.dir) == "notify" })
		r.alertWalk = &w
	}
	slices.SortStableFunc(r.functions, func(a, b *function) int { return cmp.Compare(b.lines, a.lines) })
	return r, nil
}

func (p *packageFigures) count(f *goFile) {
	switch {
	case f.test:
		p.testLines += f.lines
	case f.generated:
		p.generated += f.lines
	default:
		p.files++
		p.lines += f.lines
		exported, documented := countDocs(f.ast)
		p.exported += exported
		p.documented += documented
	}
}

func (p *packageFigures) add(q packageFigures) {
	p.files += q.files
	p.lines += q.lines
	p.testLines += q.testLines
	p.generated += q.generated
	p.longest = max(p.longest, q.longest)
	p.exported += q.exported
	p.documented += q.documented
	p.calls.up += q.calls.up
	p.calls.all += q.calls.all
}

// countDocs counts the exported names that a file declares at its top level,
// methods of exported types with them, and how many have a comment: before
// them, behind them, or before their group.
func countDocs(file *ast.File) (exported, documented int) {
	count := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		exported++
		if slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return strings.TrimSpace(c.Text()) != "" }) {
			documented++
		}
	}
	for _, d := range file.Decls {
		switch decl := d.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil || ast.IsExported(receiver(decl)) {
				count(decl.Name, decl.Doc)
			}
		case *ast.GenDecl:
			if decl.Tok == token.IMPORT {
				continue
			}
			for _, spec := range decl.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					count(s.Name, s.Doc, s.Comment, decl.Doc)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						count(name, s.Doc, s.Comment, decl.Doc)
					}
				}
			}
		}
	}
	return exported, documented
}

// receiver returns the name of the type that a method belongs to.
func receiver(decl *ast.FuncDecl) string {
	name := ""
	ast.Inspect(decl.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return name == ""
	})
	return name
}

func functionsOf(all []*function, p *goPackage) []*function {
	var of []*function
	for _, fn := range all {
		if fn.pkg == p {
			of = append(of, fn)
		}
	}
	return of
}

// findFunction returns the function or method of that name in the package whose
// folder has that name, or nil.
func findFunction(all []*function, pkg, name string) *function {
	for _, fn := range all {
		if fn.name == name && lastOf(fn.pkg.dir) == pkg {
			return fn
		}
	}
	return nil
}

func lastOf(dir string) string { return dir[strings.LastIndex(dir, "/")+1:] }

// percentile takes functions sorted by length, the longest first.
func percentile(functions []*function, percent int) int {
	if len(functions) == 0 {
		return 0
	}
	return functions[(len(functions)-1)*(100-percent)/100].lines
}

func share(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%d %%", part*100/whole)
}
