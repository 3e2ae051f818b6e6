package app

import (
	"testing"

	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// environ is an environment for a test.
type environ map[string]string

func (e environ) getenv(name string) string { return e[name] }

// with returns a copy with some settings changed: name, value, name, value, …
func (e environ) with(pairs ...string) environ {
	c := environ{}
	for k, v := range e {
		c[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}
