package realstrapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/realstrapi"
)

// A machine that cannot have a Strapi is no failure: CI then goes on.
func TestInstall_NoNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := realstrapi.Install(t.Context(), source, t.TempDir())
	require.ErrorIs(t, err, realstrapi.ErrUnavailable)
	require.ErrorContains(t, err, "node is not installed")
}

func TestInstall_OldNode(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"node", "npm"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho v18.20.4\n"), 0o755))
	}
	t.Setenv("PATH", bin)
	_, err := realstrapi.Install(t.Context(), source, t.TempDir())
	require.ErrorIs(t, err, realstrapi.ErrUnavailable)
	require.ErrorContains(t, err, "Node is v18.20.4, Strapi needs 20 or later")
}

// Two runs on one machine may find nothing installed and install it, both.
func TestInstall_TwoAtOnce(t *testing.T) {
	bin, both := t.TempDir(), t.TempDir()
	// An npm that ends when two have begun.
	npm := fmt.Sprintf(`#!/bin/sh
mkdir node_modules && mktemp %[1]s/XXXXXX
while [ "$(ls %[1]s | wc -l)" -lt 2 ]; do sleep 0.05; done
`, both)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "npm"), []byte(npm), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "node"), []byte("#!/bin/sh\necho v20.0.0\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cache, errs := t.TempDir(), make(chan error, 2)
	for range 2 {
		go func() {
			modules, err := realstrapi.Install(t.Context(), source, cache)
			if err == nil {
				_, err = os.Stat(modules)
			}
			errs <- err
		}()
	}
	require.NoError(t, <-errs)
	require.NoError(t, <-errs)
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestInstall_NoRegistry(t *testing.T) {
	needStrapi(t)
	t.Setenv("npm_config_registry", "http://127.0.0.1:1")
	t.Setenv("npm_config_cache", t.TempDir())
	t.Setenv("npm_config_fetch_retries", "0")
	cache := t.TempDir()
	_, err := realstrapi.Install(t.Context(), source, cache)
	require.ErrorIs(t, err, realstrapi.ErrUnavailable)
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left, "what was cut off is not kept")
}
