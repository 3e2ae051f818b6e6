package migrations_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

var (
	queryName = regexp.MustCompile(`^-- name: (\w+) :`)
	parameter = regexp.MustCompile(`\$(\d+)`)
)

// queries returns the statements that sqlc generated, by name.
func queries(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../internal/dbsqlc/*.sql.go")
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				sql, err := strconv.Unquote(literal.Value)
				require.NoError(t, err)
				if m := queryName.FindStringSubmatch(sql); m != nil {
					all[m[1]] = sql
				}
			}
			return true
		})
	}
	require.Greater(t, len(all), 50)
	return all
}

// No query of the service needs more than the app role has. EXPLAIN checks the
// privileges of every table and function of a statement, and runs none of it.
func TestRoles_AppMayRunEveryQuery(t *testing.T) {
	t.Parallel()
	app := connect(t, pgtest.SeparateRoles(t).App)
	for name, sql := range queries(t) {
		most := 0
		for _, p := range parameter.FindAllStringSubmatch(sql, -1) {
			n, err := strconv.Atoi(p[1])
			require.NoError(t, err)
			most = max(most, n)
		}
		call := "q_" + name
		if most > 0 {
			call += "(" + strings.TrimSuffix(strings.Repeat("NULL, ", most), ", ") + ")"
		}
		app.exec(fmt.Sprintf("PREPARE q_%s AS %s", name, sql))
		app.exec("EXPLAIN EXECUTE " + call)
	}
}
