package main

import (
	_ "embed"
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed words.txt
var wordList string

// word is one line of words.txt.
type word struct {
	where   string // doc, prose, identifier, type or anywhere
	pattern *regexp.Regexp
	instead string
}

// finding is a word at a place.
type finding struct {
	path    string
	line    int
	found   string
	instead string
}

// String returns the finding in the form that editors open.
func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %q: %s", f.path, f.line, f.found, f.instead)
}

func bannedWords() []word {
	words, err := parseWords(wordList)
	if err != nil {
		panic(err) // a test reads the list
	}
	return words
}

var columns = regexp.MustCompile(`\s{2,}`)

// parseWords reads the form that words.txt describes.
func parseWords(list string) ([]word, error) {
	var words []word
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := columns.Split(line, 3)
		if len(fields) != 3 || !slices.Contains([]string{"doc", "prose", "identifier", "type", "anywhere"}, fields[0]) {
			return nil, fmt.Errorf("words.txt: %q is not where, a pattern and what to say instead", line)
		}
		pattern := strings.ReplaceAll(fields[1], " ", `\s+`)
		if fields[0] == "prose" || fields[0] == "anywhere" {
			pattern = "(?i)" + pattern
		}
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("words.txt: %w", err)
		}
		words = append(words, word{fields[0], compiled, fields[2]})
	}
	return words, nil
}

// piece is a part of a file that is one sort of text.
type piece struct {
	kind string
	line int
	text string
}

// findWords returns what is found below root, by file and line.
func findWords(root string, words []word) ([]finding, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	names, err := sources(root)
	if err != nil {
		return nil, err
	}
	var all []finding
	for _, name := range names {
		pieces, err := t.pieces(name)
		if err != nil {
			return nil, err
		}
		all = append(all, find(name, pieces, words)...)
	}
	return all, nil
}

// pieces returns the parts of a file that are searched; none of one that a
// program wrote.
func (t *tree) pieces(name string) ([]piece, error) {
	of := []piece{{"identifier", 1, strings.TrimSuffix(path.Base(name), path.Ext(name))}}
	switch path.Ext(name) {
	case ".go":
		for _, f := range t.packages[path.Dir(name)].files {
			if f.path == name && !f.generated {
				return append(of, t.goPieces(f)...), nil
			}
		}
		return nil, nil
	case ".md", ".sql", ".html", ".yml", "": // Makefile and Dockerfile have none
	default:
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(t.root, filepath.FromSlash(name)))
	return append(of, piece{"prose", 1, string(text)}), err
}

// goPieces returns comments without their marks, strings, and each name once.
// What stands behind a dot is found where it is declared.
func (t *tree) goPieces(f *goFile) []piece {
	line := func(n ast.Node) int { return t.fset.Position(n.Pos()).Line }
	var pieces []piece
	doc := docComments(f.ast)
	for _, group := range f.ast.Comments {
		kind := "prose"
		if doc[group] {
			kind = "doc"
		}
		pieces = append(pieces, piece{kind, line(group), plain(group)})
	}
	behindDot, seen := map[*ast.Ident]bool{}, map[string]bool{}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			behindDot[n.Sel] = true
		case *ast.BasicLit:
			pieces = append(pieces, piece{"prose", line(n), n.Value})
		case *ast.TypeSpec:
			pieces = append(pieces, piece{"type", line(n), n.Name.Name})
		case *ast.Ident:
			if !behindDot[n] && !seen[n.Name] {
				seen[n.Name] = true
				pieces = append(pieces, piece{"identifier", line(n), n.Name})
			}
		}
		return true
	})
	return pieces
}

// docComments returns the comments that stand before a declaration, a field or
// a method of an interface.
func docComments(file *ast.File) map[*ast.CommentGroup]bool {
	doc := map[*ast.CommentGroup]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			doc[n.Doc] = true
		case *ast.GenDecl:
			doc[n.Doc] = true
		case *ast.TypeSpec:
			doc[n.Doc] = true
		case *ast.ValueSpec:
			doc[n.Doc] = true
		case *ast.Field:
			doc[n.Doc] = true
		}
		return true
	})
	return doc
}

// plain returns a comment's lines without the marks, as many as there were.
func plain(group *ast.CommentGroup) string {
	var lines []string
	for _, c := range group.List {
		for line := range strings.Lines(c.Text) {
			line = strings.TrimSpace(line)
			line = strings.TrimPrefix(strings.TrimPrefix(line, "//"), "/*")
			lines = append(lines, strings.TrimSpace(strings.TrimSuffix(line, "*/")))
		}
	}
	return strings.Join(lines, "\n")
}

func find(name string, pieces []piece, words []word) []finding {
	var all []finding
	for _, p := range pieces {
		for _, w := range words {
			if !w.appliesTo(p.kind) {
				continue
			}
			for _, at := range w.pattern.FindAllStringIndex(p.text, -1) {
				all = append(all, finding{
					path: name, line: p.line + strings.Count(p.text[:at[0]], "\n"),
					found: strings.Join(strings.Fields(p.text[at[0]:at[1]]), " "), instead: w.instead,
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b finding) int { return a.line - b.line })
	return slices.Compact(all)
}

// appliesTo reports whether the word is wrong in that kind of piece. A doc
// comment is prose, too.
func (w word) appliesTo(kind string) bool {
	prose := kind == "prose" || kind == "doc"
	switch w.where {
	case "prose":
		return prose
	case "anywhere":
		return prose || kind == "identifier"
	}
	return w.where == kind
}
