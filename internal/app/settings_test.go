package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettings_Duration(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value string
		want  time.Duration // 0: refused
	}{
		{"90s", 90 * time.Second},
		{"1m30s", 90 * time.Second},
		{"1.0", time.Second},
		{"0.25", 250 * time.Millisecond},
		{" 300 ", 300 * time.Second},
		{"", 7 * time.Second},
		{"1e1", 10 * time.Second},
		{"0.01d", 864 * time.Second},
		{"d", 0},
		{"1dd", 0},
		{"0", 0},
		{"-5s", 0},
		{"NaN", 0},
		{"Inf", 0},
		{"1e300", 0},
		{"2h", 0}, // past the highest
		{"5 s", 0},
		{"soon", 0},
	} {
		s := &settings{getenv: environ{"WAIT": test.value}.getenv}
		got := s.duration("WAIT", 7*time.Second, time.Millisecond, time.Hour)
		if test.want == 0 {
			require.Len(t, s.problems, 1, test.value)
			require.Equal(t, 7*time.Second, got, "reading goes on with the default")
			continue
		}
		require.Empty(t, s.problems, test.value)
		require.Equal(t, test.want, got, test.value)
	}
}

func TestSettings_WebURL(t *testing.T) {
	t.Parallel()
	for value, wrong := range map[string]string{
		"https://host":              "",
		"http://127.0.0.1:1337/api": "",
		"https://[::1]:8443/x/":     "",
		"host.example.com":          "does not start with http:// or https://",
		"ftp://host":                "does not start with http:// or https://",
		"https://":                  "names no host",
		"https://:8000":             "names no host",
		"https://user:pw@host":      "holds a user name or password",
		"https://host:0":            "has a port outside 1 to 65535",
		"https://host:65536":        "has a port outside 1 to 65535",
		"https://host:port":         "is not a URL",
		"https://host/#part":        "has a fragment (the part from '#')",
		"https://host/#":            "has a fragment (the part from '#')",
		"https://host/?a=b":         "has a query (the part from '?')",
		"https://host/?":            "has a query (the part from '?')",
		"https://host/%zz":          "is not a URL",
	} {
		s := &settings{getenv: environ{"PUBLIC_URL": value}.getenv}
		u := s.webURL("PUBLIC_URL")
		if wrong == "" {
			require.Empty(t, s.problems, value)
			require.NotNil(t, u, value)
			continue
		}
		require.Nil(t, u, value)
		require.Len(t, s.problems, 1, value)
		require.Equal(t, wrong, s.problems[0].Wrong, value)
	}
}

func TestSettings_Shown(t *testing.T) {
	t.Parallel()
	require.Equal(t, `"a\nb"`, shown("a\nb"), "one line")
	require.Equal(t, `"`+string(make60('é'))+`…"`, shown(string(append(make60('é'), 'x'))), "cut between characters")
}

func make60(r rune) []rune {
	out := make([]rune, 60)
	for i := range out {
		out[i] = r
	}
	return out
}
