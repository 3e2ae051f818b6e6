package migrations_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

// SQL names are public: people audit them. goose's table is not ours, and a
// partition has the columns of its table.
const uncommented = `
WITH ours AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
              AND NOT relispartition AND relname <> 'goose_db_version')
SELECT oid::regclass::text FROM ours WHERE coalesce(obj_description(oid, 'pg_class'), '') = ''
UNION ALL
SELECT format('%s.%s', o.oid::regclass, a.attname) FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid
WHERE a.attnum > 0 AND NOT a.attisdropped AND coalesce(col_description(o.oid, a.attnum), '') = ''
UNION ALL
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND coalesce(obj_description(oid, 'pg_proc'), '') = ''`

func TestComments_EveryTableViewColumnAndFunctionHasOne(t *testing.T) {
	t.Parallel()
	s := connect(t, pgtest.URL(t))
	require.Empty(t, s.names(uncommented), "add COMMENT ON where they are created")

	s.exec("CREATE TABLE bare (x int); CREATE VIEW bare_view AS SELECT x FROM bare; CREATE FUNCTION bare() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	require.ElementsMatch(t, []string{"bare", "bare.x", "bare_view", "bare_view.x", "bare()"}, s.names(uncommented))
}
