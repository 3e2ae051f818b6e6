package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckOutAndCommitSubjects(t *testing.T) {
	t.Parallel()
	root := module(t, map[string]string{"p/a.go": "package p\n"})
	commit := func(subject string) {
		_, err := git(root, "add", "-A")
		require.NoError(t, err)
		_, err = git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-q", "-m", subject+"\n\n"+strings.Repeat("body ", 30))
		require.NoError(t, err)
	}
	_, err := git(root, "init", "-q")
	require.NoError(t, err)
	commit("first")
	first, err := git(root, "rev-parse", "HEAD")
	require.NoError(t, err)
	write(t, root, "p/b.go", "package p\n")
	commit(strings.Repeat("ä", maxSubject))
	commit(strings.Repeat("a", maxSubject+1))

	base := strings.TrimSpace(string(first))
	got, err := commitSubjects(root, base, "")
	require.NoError(t, err)
	require.Equal(t, &subjects{base: base, long: 1, all: 2}, got)

	dir, err := checkOut(root, base)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	then, err := measure(dir)
	require.NoError(t, err)
	require.Equal(t, 1, then.total.files, "the commit's file, not the one that came later")

	_, err = checkOut(root, "nothing")
	require.ErrorContains(t, err, "git archive")
}
