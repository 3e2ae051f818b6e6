package reconcile

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// A person must not look for the cause in Strapi when it is Postgres.
func TestWordsOfFailure(t *testing.T) {
	t.Parallel()
	run := dbsqlc.ReconciliationRun{ID: 11, Kind: string(Full)}
	locked := fmt.Errorf("write a step of reconciliation 11: %w", &pgconn.PgError{Code: "55P03", Message: "canceling statement due to lock timeout"})
	words := wordsOfFailure(run, "billings", locked)
	require.Contains(t, words, "its own database failed: canceling statement due to lock timeout. The cause is on the side of Postgres")
	require.NotContains(t, words, "write a step")
	words = wordsOfFailure(run, "billings", fmt.Errorf("list: %w", &strapi.Error{Kind: strapi.Unavailable, Status: 500}))
	require.Contains(t, words, "Mostly the cause is on Strapi's side")
}
