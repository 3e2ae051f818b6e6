// Command repocheck measures this repository and checks what no linter checks:
// the words that are not used, and the drawing of the imports.
//
//	repocheck figures [-md] [-rev REV] [-base REV]   make house
//	repocheck upward DIR                             the files of a package in their order, and each call that goes up
//	repocheck words                                  part of make lint
//	repocheck picture [-check]                       make picture, make lint
//	go test -json … | repocheck results [-v]         make test: what failed, and the skipped tests with their reasons
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// errFound reports findings that were printed already.
var errFound = errors.New("found what should not be there")

func main() {
	if err := run(os.Args[1:]); err != nil {
		if !errors.Is(err, errFound) {
			fmt.Fprintln(os.Stderr, "repocheck:", err)
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("say what: figures, upward, words, picture or results")
	}
	switch args[0] {
	case "figures":
		return figuresCommand(root, args[1:])
	case "upward":
		return upwardCommand(root, args[1:])
	case "words":
		return wordsCommand(root, args[1:])
	case "picture":
		return pictureCommand(root, args[1:])
	case "results":
		return resultsCommand(args[1:])
	}
	return fmt.Errorf("no command %q: there are figures, upward, words, picture and results", args[0])
}

func figuresCommand(root string, args []string) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	markdown := flags.Bool("md", false, "print Markdown")
	rev := flags.String("rev", "", "measure this commit, not the working tree")
	base := flags.String("base", "", "count the commit subjects since this commit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir := root
	if *rev != "" {
		var err error
		if dir, err = checkOut(root, *rev); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	report, err := measure(dir)
	if err != nil {
		return err
	}
	if *base != "" {
		if report.subjects, err = commitSubjects(root, *base, *rev); err != nil {
			return err
		}
	}
	return report.print(os.Stdout, *markdown)
}

func upwardCommand(root string, args []string) error {
	if len(args) != 1 {
		return errors.New("upward needs the folder of one package")
	}
	t, err := load(root)
	if err != nil {
		return err
	}
	p := t.packages[path.Clean(filepath.ToSlash(args[0]))]
	if p == nil {
		return fmt.Errorf("no package in %s", args[0])
	}
	functions := functionsOf(t.functions(), p)
	for _, f := range readingOrder(functions) {
		fmt.Println(f.path)
	}
	for _, call := range upwardCalls(functions) {
		fmt.Println(call)
	}
	return nil
}

func wordsCommand(root string, args []string) error {
	flags := flag.NewFlagSet("words", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return err
	}
	found, err := findWords(root, bannedWords())
	if err != nil {
		return err
	}
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		fmt.Fprintf(os.Stderr, "repocheck: %d words that are not used here; internal/repocheck/words.txt has the list\n", len(found))
		return errFound
	}
	return nil
}

func pictureCommand(root string, args []string) error {
	flags := flag.NewFlagSet("picture", flag.ContinueOnError)
	check := flags.Bool("check", false, "fail when the drawing is stale; write nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tree, err := load(root)
	if err != nil {
		return err
	}
	drawing := draw(tree.imports())
	path := filepath.Join(root, "docs", "packages.svg")
	if !*check {
		return os.WriteFile(path, drawing, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != string(drawing) {
		return errors.New("docs/packages.svg is stale: run make picture")
	}
	return nil
}

func resultsCommand(args []string) error {
	flags := flag.NewFlagSet("results", flag.ContinueOnError)
	verbose := flags.Bool("v", false, "show everything, as go test -v does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return showResults(os.Stdin, os.Stdout, *verbose)
}

// moduleRoot returns the folder of go.mod, at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod here or above")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
