package localpg

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startContainer starts a server in a container; without Docker the test is skipped.
func startContainer(t *testing.T, dir string) *Server {
	t.Helper()
	if err := DockerAnswers(t.Context()); err != nil {
		t.Skip(err)
	}
	s, err := Start(t.Context(), Config{
		Dir: dir, Using: Container, Image: cmp.Or(os.Getenv("TEST_POSTGRES_IMAGE"), DefaultImage),
		Settings: map[string]string{"fsync": "off"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

func TestContainer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := startContainer(t, dir)
	name := s.engine.(*container).name
	t.Cleanup(func() { require.NoError(t, s.engine.(*container).removeVolume(context.Background())) })
	mustExec(t, s, "CREATE TABLE kept (n int)")
	url := s.URL()

	t.Run("Restart", func(t *testing.T) {
		for i, mode := range []Mode{Fast, Immediate} {
			mustExec(t, s, "INSERT INTO kept VALUES (1)")
			require.NoError(t, s.Restart(t.Context(), mode))
			require.Equal(t, url, s.URL())
			require.Equal(t, i+1, count(t, s, "kept"))
		}
		require.NoError(t, s.Kill())
		require.NoError(t, s.Restart(t.Context(), Fast))
		require.Equal(t, 2, count(t, s, "kept"))
	})
	t.Run("PSQL", func(t *testing.T) {
		command := strings.Replace(s.PSQL(), "--tty", "", 1) // the test has no terminal
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command+" -Atc 'SELECT 40 + 2'").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "42", strings.TrimSpace(string(out)))
	})
	t.Run("StopKeepsTheDataAlone", func(t *testing.T) {
		require.NoError(t, s.Stop(t.Context()))
		_, err := docker(t.Context(), dockerTimeout, "container", "inspect", name)
		require.True(t, isMissing(err), "%v", err)
		again := startContainer(t, dir)
		require.Equal(t, 2, count(t, again, "kept"))
	})
	t.Run("AnOrphanIsReplaced", func(t *testing.T) {
		orphan := startContainer(t, dir)
		require.NoError(t, orphan.lock.release()) // as the death of its process does
		again := startContainer(t, dir)
		require.Equal(t, 2, count(t, again, "kept"))
	})
}

func TestContainer_Temporary(t *testing.T) {
	t.Parallel()
	s := startContainer(t, "")
	name := s.engine.(*container).name
	require.NoError(t, s.Stop(t.Context()))
	_, err := docker(t.Context(), dockerTimeout, "volume", "inspect", name)
	require.True(t, isMissing(err), "%v", err)
	require.NoDirExists(t, s.Dir())
}
