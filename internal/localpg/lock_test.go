//go:build unix

package localpg

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A child that another goroutine is starting has our open files until it runs
// its own program. It must not keep the folder locked.
func TestDirLock_ReleasedWhileAChildHasTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	require.NoError(t, err)
	child, err := syscall.Dup(int(lock.file.Fd()))
	require.NoError(t, err)
	defer func() { _ = syscall.Close(child) }()
	_, err = lockDir(dir)
	require.ErrorContains(t, err, "another process uses")

	require.NoError(t, lock.release())
	again, err := lockDir(dir)
	require.NoError(t, err)
	require.NoError(t, again.release())
	require.NoError(t, again.release(), "a second call does nothing")
}
