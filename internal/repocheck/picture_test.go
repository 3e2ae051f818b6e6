package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImports(t *testing.T) {
	t.Parallel()
	loaded, err := load(module(t, map[string]string{
		"cmd/m/main.go":    lines("package main", `import ("m/a"; "fmt")`),
		"a/a.go":           lines("package a", `import "m/b"`),
		"a/a_test.go":      lines("package a", `import "m/only/tests"`),
		"b/b.go":           lines("package b"),
		"only/tests/t.go":  lines("package tests", `import "m/b"`),
		"only/x/x_test.go": lines("package x"),
	}))
	require.NoError(t, err)
	g, others := loaded.imports()
	require.Equal(t, graph{"cmd/m": {"a"}, "a": {"b"}, "b": nil}, g)
	require.Equal(t, []string{"only/tests"}, others)
}

func TestGraph_Reduced(t *testing.T) {
	t.Parallel()
	g := graph{"top": {"a", "b", "c"}, "a": {"b"}, "b": {"c"}, "c": nil}
	require.Equal(t, graph{"top": {"a"}, "a": {"b"}, "b": {"c"}, "c": nil}, g.reduced())
}

func TestGraph_LayersAreBelowEveryImporter(t *testing.T) {
	t.Parallel()
	g := graph{"top": {"a", "leaf"}, "a": {"b"}, "b": {"leaf"}, "leaf": nil}
	require.Equal(t, map[string]int{"top": 0, "a": 1, "b": 2, "leaf": 3}, g.layers())
}

// example has what can go wrong: long arrows, several tops, one alone, a wide layer.
var example = graph{
	"cmd/x": {"internal/app", "internal/tool"}, "cmd/alone": nil, "internal/app": {"internal/s1", "internal/s2", "internal/s3", "internal/leaf"},
	"internal/s1": {"internal/s4"}, "internal/s2": {"internal/s4"}, "internal/s3": {"internal/s4"}, "internal/s4": {"internal/leaf"},
	"internal/tool": {"internal/leaf"}, "internal/leaf": nil,
}

func TestArrange_BoxesStandApart(t *testing.T) {
	t.Parallel()
	l := arrange(example)
	for _, layer := range l.layers {
		for i := range layer[1:] {
			left, right := layer[i], layer[i+1]
			require.LessOrEqual(t, left.x+left.width/2+gap, right.x-right.width/2+0.001)
		}
		last := layer[len(layer)-1]
		require.GreaterOrEqual(t, layer[0].x-layer[0].width/2, margin-0.001)
		require.LessOrEqual(t, last.x+last.width/2, l.width-margin+0.001)
	}
	for _, arrow := range l.arrows {
		for i, n := range arrow[1:] {
			require.Equal(t, arrow[i].layer+1, n.layer, "an arrow goes down one layer at a time")
		}
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	svg := string(draw(example, []string{"internal/a<b"}))
	for range 20 {
		require.Equal(t, svg, string(draw(example, []string{"internal/a<b"})), "the same graph, the same drawing")
	}
	for name := range example {
		require.Contains(t, svg, ">"+label(name)+"</text>")
	}
	read := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := read.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
}
