// Command repocheck checks what no linter checks: the words that are not used.
//
//	repocheck words                                  part of make lint
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
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
		return errors.New("say what: words")
	}
	switch args[0] {
	case "words":
		return wordsCommand(root, args[1:])
	}
	return fmt.Errorf("no command %q: there is words", args[0])
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
