package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What `go test -json` really prints is read here, of a module with every way to end.
func TestShowResults(t *testing.T) {
	t.Parallel()
	root := module(t, map[string]string{
		"pass/a_test.go": lines("package pass", `import "testing"`, `func TestA(t *testing.T) { t.Log("quiet") }`),
		"none/a.go":      lines("package none"),
		"skip/a_test.go": lines("package skip", `import "testing"`,
			`func TestA(t *testing.T) { t.Log("first"); t.Skip("not here: no curl") }`,
			`func TestB(t *testing.T) { t.Run("Sub", func(t *testing.T) { t.SkipNow() }) }`),
		"fail/a_test.go": lines("package fail", `import "testing"`,
			`func TestA(t *testing.T) { t.Run("Sub", func(t *testing.T) { t.Error("why it failed") }) }`,
			`func TestB(t *testing.T) { t.Log("quiet") }`),
		"panics/a_test.go": lines("package panics", `import "testing"`, `func TestA(t *testing.T) { panic("out of order") }`),
		"broken/a_test.go": lines("package broken", `var x int = "text"`),
	})
	for name, c := range map[string]struct {
		packages string
		failed   bool
		has, not []string
	}{
		"Pass": {"./pass ./none", false, []string{"ok  \tm/pass", "m/none\t[no test files]"}, []string{"quiet", "=== RUN", "Skipped"}},
		"Skip": {"./skip", false, []string{"ok  \tm/skip", "\nSkipped tests:\n  m/skip TestA: not here: no curl\n  m/skip TestB/Sub: no reason given\n"}, nil},
		"Fail": {"./pass ./fail", true, []string{"why it failed", "--- FAIL: TestA", "--- FAIL: TestA/Sub", "FAIL\tm/fail", "ok  \tm/pass"}, []string{"quiet"}},
		// The test that a panic ends has no event of its own in some versions of Go.
		"Panic":        {"./panics", true, []string{"out of order", "goroutine ", "FAIL\tm/panics"}, nil},
		"DoesNotBuild": {"./broken ./pass", true, []string{"cannot use", "m/broken [build failed]", "ok  \tm/pass"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), "go", append([]string{"test", "-json"}, strings.Fields(c.packages)...)...)
			run.Dir = root
			printed, _ := run.Output() // fails as the tests do
			var out strings.Builder
			err := showResults(strings.NewReader(string(printed)), &out, false)
			if c.failed {
				require.ErrorIs(t, err, errFound, out.String())
			} else {
				require.NoError(t, err, out.String())
			}
			for _, text := range c.has {
				require.Contains(t, out.String(), text)
			}
			for _, text := range c.not {
				require.NotContains(t, out.String(), text)
			}
		})
	}
}

func TestShowResults_RunThatWasCutOff(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := showResults(strings.NewReader(lines(
		`{"Action":"run","Package":"m/p","Test":"TestA"}`,
		`{"Action":"output","Package":"m/p","Test":"TestA","Output":"what it did\n"}`)), &out, false)
	require.ErrorIs(t, err, errFound)
	require.Equal(t, "what it did\n", out.String())
}

func TestShowResults_Verbose(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, showResults(strings.NewReader(lines(
		`{"Action":"output","Package":"m/p","Test":"TestA","Output":"--- PASS\n"}`,
		`{"Action":"pass","Package":"m/p","Test":"TestA"}`,
		`{"Action":"output","Package":"m/p","Output":"ok  \tm/p\n"}`,
		`{"Action":"pass","Package":"m/p"}`,
		`make: no JSON`)), &out, true))
	require.Equal(t, "--- PASS\nok  \tm/p\nmake: no JSON\n", out.String())
}
