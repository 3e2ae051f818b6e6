package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOperatorName(t *testing.T) {
	t.Parallel()
	require.Equal(t, "cli:ann", operatorName("ann", 1000))
	require.Equal(t, "cli:10001", operatorName("", 10001), "a container's user id without a name")
}
