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
		groups := ""
		if r.Group != nil {
			groups = " (its members are one episode)"
		}
		fmt.Fprintf(&b, "\n%s, %s\n", r.Name, strings.Join(levels, " "))
		for _, line := range [][2]string{
			{"subject", r.Subject + groups}, {"means", r.Means}, {"side", r.Side}, {"inhibits", strings.Join(r.Inhibits, " ")}, {"explains", strings.Join(r.Explains, " ")},
			{"clears when", r.Clears}, {"or quiet for", strings.Join(quiet, ", ")}, {"first", r.First}, {"text", filled(r.Example)}, {"its end", filled(r.End)},
		} {
			if line[1] != "" {
				fmt.Fprintf(&b, "  %-13s %s\n", line[0], line[1])
			}
		}
		require.NotEmpty(t, r.Levels, r.Name)
		require.IsIncreasing(t, append([]level.Level{0}, r.Levels...), r.Name)
		for _, text := range []string{r.Side, r.Means, r.Clears, r.First, r.Example, r.End} {
			require.NotEmpty(t, text, r.Name)
		}
		requireForPeople(t, r)
		for _, inhibited := range r.Inhibits {
			require.NotEmpty(t, ruleOf(inhibited).Name, "%s inhibits %s, which is no rule", r.Name, inhibited)
			require.Empty(t, ruleOf(inhibited).Inhibits, "%s inhibits %s, which inhibits others: a chain can mute a whole outage", r.Name, inhibited)
		}
		for _, explained := range r.Explains {
			require.NotEmpty(t, ruleOf(explained).Name, "%s explains %s, which is no rule", r.Name, explained)
			require.NotContains(t, r.Inhibits, explained)
		}
		requireSection(t, page, r)
	}
	t.Log("\n" + b.String())
	require.IsIncreasing(t, names)
	require.ElementsMatch(t, rulesInSource(t), names, "each constant has its row")
}

// filled fills what stands in braces as Raise and Resolve do.
func filled(text string) string {
	return strings.NewReplacer(since, "2026-11-24 22:10:00 UTC", lasted, "31 s", waiting, webhooksWaited(44)).Replace(text)
}

// requireForPeople: a text fits, is no chain of Go errors, says on whose side the
// cause is and what people still see, and ends neither in a period nor in the middle.
func requireForPeople(t *testing.T, r Rule) {
	t.Helper()
	for _, text := range []string{r.Example, r.End} {
		require.Less(t, len(filled(text)), maxMessage, r.Name)
		require.NotRegexp(t, `\.$|: $|GET /|status \d|%!|\w+: \w+: \w+:`, text, r.Name)
		require.Regexp(t, `^(\p{Lu}|\d|cli:)`, text, r.Name)
	}
	require.Regexp(t, `cause is|Either|works, and this|One of the two|Strapi answers with its error|do not have the same|differ|Often`, r.Example, r.Name)
	require.Regexp(t, `mirror|store|webhook|recorded`, r.Example, r.Name)
	require.Contains(t, withDuration(r.End), lasted, r.Name)
}

// requireSection: who is woken by an alert finds under its name what it means, what
// still holds, what to do first and what ends it. The heading is the anchor:
// docs/operations.md#breaker_opened.
func requireSection(t *testing.T, page []byte, r Rule) {
	t.Helper()
	rule := r.Name
	section := regexp.MustCompile(`(?s)\n### ` + regexp.QuoteMeta(rule) + `\n(.*?)\n##`).FindSubmatch(page)
	require.NotNil(t, section, "docs/operations.md needs a section: ### %s", rule)
	require.Contains(t, strings.Join(strings.Fields(string(section[1])), " "), "**Whose fault:** "+r.Side, rule)
	for _, part := range []string{"**Means:** ", "**Whose fault:** ", "**Still true:** ", "**First:** ", "**Ends:** "} {
		require.Contains(t, string(section[1]), part, rule)
	}
}
