package alerting

import (
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

// Who is woken by an alert finds under its name what it means and what to do first.
func TestRules_HaveASectionInOperations(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for _, rule := range rulesInSource(t) {
		// The heading is the anchor: docs/operations.md#breaker_opened.
		section := regexp.MustCompile(`(?s)\n### ` + regexp.QuoteMeta(rule) + `\n(.*?)\n##`).FindSubmatch(page)
		require.NotNil(t, section, "docs/operations.md needs a section: ### %s", rule)
		for _, part := range []string{"**Means:** ", "**Whose fault:** ", "**First:** "} {
			require.Contains(t, string(section[1]), part, rule)
		}
	}
}
