package localpg

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeInstallation is a folder whose postgres says that version.
func fakeInstallation(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s (some packager)'\n", version)
	for _, name := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestFind(t *testing.T) {
	v14, v15, v17, v18 := fakeInstallation(t, "14.20"), fakeInstallation(t, "15.18"),
		fakeInstallation(t, "17.2"), fakeInstallation(t, "18beta1")
	// Not parallel: PATH decides.
	t.Setenv("PATH", t.TempDir())

	t.Run("TheHighest", func(t *testing.T) {
		found, err := find(t.Context(), []string{v15, v18, v17}, 0)
		require.NoError(t, err)
		require.Equal(t, installation{bin: v18, version: 18, full: "18beta1"}, found)
	})
	t.Run("NoneTooOld", func(t *testing.T) {
		_, err := find(t.Context(), []string{v14, t.TempDir()}, 0)
		require.ErrorIs(t, err, errNoBinaries)
	})
	t.Run("TheOneThatMadeTheData", func(t *testing.T) {
		found, err := find(t.Context(), []string{v17, v15, v18}, 15)
		require.NoError(t, err)
		require.Equal(t, v15, found.bin)
	})
	t.Run("DataOfAnotherVersion", func(t *testing.T) {
		_, err := find(t.Context(), []string{v15, v17}, 16)
		var wrong *VersionError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, 16, wrong.Data)
		require.Equal(t, "PostgreSQL 15.18 and PostgreSQL 17.2", wrong.Found)
	})
	t.Run("TheOneInPath", func(t *testing.T) {
		t.Setenv("PATH", v15+string(os.PathListSeparator)+os.Getenv("PATH"))
		found, err := find(t.Context(), append(candidates(), v18), 0)
		require.NoError(t, err)
		require.Equal(t, v15, found.bin)
	})
}

func TestMissingError_SaysWhatToInstall(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1") // nothing answers there
	_, err := Start(t.Context(), Config{Using: Container})
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	for _, hint := range []string{"apt-get install postgresql", "dnf install", "brew install", "Docker"} {
		require.ErrorContains(t, err, hint)
	}
}
