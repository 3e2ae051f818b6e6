package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// print writes the figures as two tables, for a terminal or as Markdown.
func (r *report) print(to io.Writer, markdown bool) error {
	summary := [][]string{{"figure", "value"}}
	summary = append(summary, r.summary()...)
	packages := [][]string{{"package", "files", "lines", "tests", "generated", "longest function", "documented", "upward calls"}}
	for _, p := range append(r.packages, r.total) {
		packages = append(packages, []string{
			p.dir, strconv.Itoa(p.files), strconv.Itoa(p.lines), strconv.Itoa(p.testLines), strconv.Itoa(p.generated),
			strconv.Itoa(p.longest), share(p.documented, p.exported), fmt.Sprintf("%d of %d", p.calls.up, p.calls.all),
		})
	}
	format := terminalTable
	if markdown {
		format = markdownTable
	}
	_, err := io.WriteString(to, format(summary)+"\n"+format(packages))
	return err
}

func (r *report) summary() [][]string {
	rows := [][]string{
		{"Go by hand, without tests", fmt.Sprintf("%d lines in %d files", r.total.lines, r.total.files)},
		{"tests", fmt.Sprintf("%d lines", r.total.testLines)},
		{"generated", fmt.Sprintf("%d lines", r.total.generated)},
		{"exported names with a comment", fmt.Sprintf("%s of %d", share(r.total.documented, r.total.exported), r.total.exported)},
		{"upward calls", fmt.Sprintf("%d of %d", r.total.calls.up, r.total.calls.all)},
		{"words that are not used", strconv.Itoa(len(r.banned))},
	}
	if len(r.functions) > 0 {
		first := r.functions[0]
		rows = append(rows,
			[]string{"function length, p50 and p90", fmt.Sprintf("%d and %d lines", percentile(r.functions, 50), percentile(r.functions, 90))},
			[]string{"longest function", fmt.Sprintf("%d lines: %s (%s:%d)", first.lines, first.name, first.file.path, first.line)},
			[]string{"longest file", fmt.Sprintf("%d lines: %s", r.longest.lines, r.longest.path)})
	}
	if r.alertWalk != nil {
		rows = append(rows, []string{"an alert's way from alerting.Raise", fmt.Sprintf("%d returns in %d stays", r.alertWalk.returns, r.alertWalk.stays)})
	}
	if r.subjects != nil {
		rows = append(rows, []string{fmt.Sprintf("commit subjects over %d characters", maxSubject), fmt.Sprintf("%d of %d since %s", r.subjects.long, r.subjects.all, r.subjects.base)})
	}
	return rows
}

// terminalTable pads the columns: the first to the right, numbers to the left.
func terminalTable(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 || len(row) == 2 {
				line.WriteString(cell + pad + "  ")
			} else {
				line.WriteString(pad + cell + "  ")
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

func markdownTable(rows [][]string) string {
	var out strings.Builder
	for i, row := range rows {
		out.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			align := "|---"
			if len(row) > 2 {
				out.WriteString("|---" + strings.Repeat("|--:", len(row)-1) + "|\n")
				continue
			}
			out.WriteString(strings.Repeat(align, len(row)) + "|\n")
		}
	}
	return out.String()
}
