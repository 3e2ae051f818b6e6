package alerting

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"dealbox/internal/level"
)

// rulesInSource are the values of the Rule constants, whichever file they stand in.
func rulesInSource(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var rules []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Rule") || len(spec.Values) != 1 {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				rule, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				rules = append(rules, rule)
			}
			return true
		})
	}
	require.Contains(t, rules, RuleBreakerOpened)
	return rules
}

// The table of rules as a whole: go test -v -run TestRules ./internal/alerting
func TestRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RULE\tLEVELS\tSUBJECT\tGROUPS\tINHIBITS\tCLEARS WHEN\tOR QUIET FOR\tFIRST")
	var names []string
	for _, r := range Rules() {
		names = append(names, r.Name)
		var levels, quiet []string
		for _, l := range r.Levels {
			levels = append(levels, l.String())
		}
		for _, q := range r.Quiet {
			quiet = append(quiet, strings.TrimSpace(q.Subject+" "+q.After.String()))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%t\t%s\t%s\t%s\t%s\n", r.Name, strings.Join(levels, " "), r.Subject, r.Group != nil,
			strings.Join(r.Inhibits, " "), r.Clears, strings.Join(quiet, ", "), r.First)
		require.NotEmpty(t, r.Levels, r.Name)
		require.IsIncreasing(t, append([]level.Level{0}, r.Levels...), r.Name)
		for _, text := range []string{r.Means, r.Clears, r.First} {
			require.NotEmpty(t, text, r.Name)
		}
		for _, inhibited := range r.Inhibits {
			require.NotEmpty(t, ruleOf(inhibited).Name, "%s inhibits %s, which is no rule", r.Name, inhibited)
			require.Empty(t, ruleOf(inhibited).Inhibits, "%s inhibits %s, which inhibits others: a chain can mute a whole outage", r.Name, inhibited)
		}
		requireSection(t, page, r.Name)
	}
	require.NoError(t, table.Flush())
	t.Log("\n" + b.String())
	require.IsIncreasing(t, names)
	require.ElementsMatch(t, rulesInSource(t), names, "each constant has its row")
}

// requireSection: who is woken by an alert finds under its name what it means, what
// still holds, what to do first and what ends it. The heading is the anchor:
// docs/operations.md#breaker_opened.
func requireSection(t *testing.T, page []byte, rule string) {
	t.Helper()
	section := regexp.MustCompile(`(?s)\n### ` + regexp.QuoteMeta(rule) + `\n(.*?)\n##`).FindSubmatch(page)
	require.NotNil(t, section, "docs/operations.md needs a section: ### %s", rule)
	for _, part := range []string{"**Means:** ", "**Whose fault:** ", "**Still true:** ", "**First:** ", "**Ends:** "} {
		require.Contains(t, string(section[1]), part, rule)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{1: "1 document", 2: "2 documents", 999: "999 documents", 5000: "5,000 documents", 1234567: "1,234,567 documents"} {
		require.Equal(t, want, documents(n))
	}
}
