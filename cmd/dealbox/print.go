package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"dealbox/internal/text"
)

// print writes v as JSON when asJSON is set; else write prints it for people, with a
// tab between the columns of a table.
func (p *program) print(asJSON bool, v any, write func(w io.Writer)) error {
	if asJSON {
		return printJSON(p.stdout, v)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	write(table)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// parseWhen reads a time, a date (its midnight UTC) or an age.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time like 2026-01-31T09:00:00Z, a date, or an age such as 90m", s)
}

// moment is empty when there is no time.
func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// printable drops what could steer a terminal, and keeps the lines of a body.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// maxCell bounds a text in a table, in bytes.
const maxCell = 2000

// oneLine keeps a table a table: some errors, pgx's among them, have several lines.
func oneLine(s string) string { return text.Line(s, maxCell) }
