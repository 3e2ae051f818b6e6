package realstrapi_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
	"dealbox/internal/realstrapi"
)

// source is the repository's folder strapi, seen from here.
const source = "../../strapi"

func TestMain(m *testing.M) { pgtest.Main(m) }

var installed = sync.OnceValues(func() (string, error) {
	cache, err := realstrapi.Cache()
	if err != nil {
		return "", err
	}
	return realstrapi.Install(context.Background(), source, cache)
})

// needStrapi skips a test that `make test-strapi` did not start. It returns where
// Strapi is installed.
func needStrapi(t *testing.T) string {
	t.Helper()
	if os.Getenv("TEST_STRAPI") == "" {
		t.Skip("make test-strapi runs it, with a real Strapi (690 MB)")
	}
	modules, err := installed()
	require.NoError(t, err)
	return modules
}
