package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module writes a module called m with these files and returns its folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "go.mod", "module m\n\ngo 1.26\n")
	for name, text := range files {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

// functionsIn returns the functions of a module with these files.
func functionsIn(t *testing.T, files map[string]string) []*function {
	t.Helper()
	loaded, err := load(module(t, files))
	require.NoError(t, err)
	return loaded.functions()
}

func lines(of ...string) string { return strings.Join(of, "\n") + "\n" }
