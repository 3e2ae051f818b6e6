package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Output     string
}

// results shows what `go test -json` reports as `go test` shows it without -v: a
// line for each package, and all output of tests that failed or did not end. It
// keeps which tests were skipped.
type results struct {
	to      io.Writer
	verbose bool // show everything
	pending map[testName]*strings.Builder
	skipped []skip
	failed  bool
}

type testName struct{ pkg, test string } // test is empty for the package's own output

type skip struct {
	testName
	reason string
}

// showResults copies a test run from a reader to a writer and ends it with the
// list of skipped tests. It returns errFound when anything failed.
func showResults(from io.Reader, to io.Writer, verbose bool) error {
	r := &results{to: to, verbose: verbose, pending: map[testName]*strings.Builder{}}
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	for _, name := range r.unfinished("") { // the run was cut off
		r.failed = true
		r.show(name)
	}
	r.listSkipped()
	if r.failed {
		return errFound
	}
	return nil
}

func (r *results) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		_, _ = io.WriteString(r.to, line) // not of a test: a message of go itself
		return
	}
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		_, _ = io.WriteString(r.to, e.Output)
	case "build-fail":
		r.failed = true
	case "output":
		r.keep(name, e.Output)
	case "pass", "fail", "skip":
		r.end(name, e.Action)
	}
}

func (r *results) keep(name testName, output string) {
	if r.verbose {
		_, _ = io.WriteString(r.to, output)
	}
	if r.pending[name] == nil {
		r.pending[name] = &strings.Builder{}
	}
	r.pending[name].WriteString(output)
}

// end takes the end of a test or, without a test's name, of a package.
func (r *results) end(name testName, how string) {
	switch {
	case name.test != "" && how == "skip":
		r.skipped = append(r.skipped, skip{name, reason(r.pending[name])})
	case how == "fail":
		r.failed = true
		if name.test == "" { // those that a panic or a timeout cut off first
			for _, cut := range r.unfinished(name.pkg) {
				r.show(cut)
			}
		}
		r.show(name)
	case name.test == "" && !r.verbose:
		_, _ = io.WriteString(r.to, packageLine(r.pending[name]))
	}
	delete(r.pending, name)
}

func (r *results) show(name testName) {
	if kept := r.pending[name]; kept != nil && !r.verbose {
		_, _ = io.WriteString(r.to, kept.String())
	}
	delete(r.pending, name)
}

// unfinished returns the tests of a package, or of all, that have begun and not ended.
func (r *results) unfinished(pkg string) []testName {
	var names []testName
	for name := range r.pending {
		if pkg == "" || name.pkg == pkg && name.test != "" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b testName) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test)) })
	return names
}

// packageLine returns the line that sums up a package.
func packageLine(output *strings.Builder) string {
	if output == nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(output.String()) {
		if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "?") || strings.HasPrefix(line, "FAIL") {
			last = line
		}
	}
	return last
}

// reason returns what a skipped test said last, without its place in the code.
func reason(output *strings.Builder) string {
	if output == nil {
		return "no reason given"
	}
	said := ""
	for line := range strings.Lines(output.String()) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "--- ") {
			said = line
		}
	}
	if _, text, ok := strings.Cut(said, ".go:"); ok {
		_, said, _ = strings.Cut(text, ": ")
	}
	return cmp.Or(said, "no reason given")
}

func (r *results) listSkipped() {
	if len(r.skipped) == 0 {
		return
	}
	slices.SortFunc(r.skipped, func(a, b skip) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test)) })
	_, _ = fmt.Fprintf(r.to, "\nSkipped tests:\n")
	for _, s := range r.skipped {
		_, _ = fmt.Fprintf(r.to, "  %s %s: %s\n", s.pkg, s.test, s.reason)
	}
}
