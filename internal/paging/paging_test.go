package paging_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/paging"
)

func TestParseCursor_ReturnsWhatCursorGot(t *testing.T) {
	t.Parallel()
	for _, keys := range [][2]string{{"2026-01-31", "0193abc"}, {"", ""}, {"1", "a.b"}} {
		first, second, err := paging.ParseCursor(paging.Cursor(keys[0], keys[1]))
		require.NoError(t, err)
		require.Equal(t, [2]string{first, second}, keys)
	}
}

func TestParseCursor_Foreign(t *testing.T) {
	t.Parallel()
	for _, cursor := range []string{"", "%", "YQ", "YS5i="} {
		_, _, err := paging.ParseCursor(cursor)
		require.ErrorIs(t, err, paging.ErrCursor, cursor)
	}
}
