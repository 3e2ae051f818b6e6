package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

const canary = "cAnArY-7f3e9b1c5d2a8046-never-shown"

func TestSecret_NeverShown(t *testing.T) {
	t.Parallel()
	type nested struct {
		Value   Secret
		Many    []Secret
		Pointer *Secret
	}
	s := Secret(canary)
	n := nested{s, []Secret{s}, &s}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", n)
	}
	fmt.Fprintln(&out, s, n, s.String())
	require.NoError(t, json.NewEncoder(&out).Encode(n))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "nested", n)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", s, "nested", n)

	require.NotContains(t, out.String(), canary)
	require.NotContains(t, out.String(), fmt.Sprintf("%x", canary))
	require.Contains(t, out.String(), redacted)
	require.Equal(t, canary, s.Reveal())
	require.Empty(t, Secret("").String(), "an unset secret does not look set")
}
