package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/jobs"
)

// ErrUnfit means that the database cannot take the schema. Its text says why and what
// to do. Nothing was written.
var ErrUnfit = errors.New("this database cannot be migrated, and nothing was changed")

// minServer is server_version_num of 15.0.
const minServer = 150000

// preflight returns ErrUnfit when a step would fail that can be known before the first
// one: it names everything at once, so that no half of a schema is left.
func preflight(ctx context.Context, pool *pgxpool.Pool) error {
	var c conditions
	names, err := createdNames()
	if err != nil {
		return err
	}
	if err := pool.QueryRow(ctx, readConditions, names, jobs.Schema).Scan(&c.server, &c.version, &c.encoding, &c.readOnly, &c.standby, &c.role, &c.database,
		&c.public, &c.usePublic, &c.river, &c.makeRiver, &c.halfRiver, &c.foreign, &c.notOwned); err != nil {
		return fmt.Errorf("check the database before migrating it: %w", err)
	}
	if problems := c.problems(); len(problems) > 0 {
		return fmt.Errorf("%w: %s", ErrUnfit, strings.Join(problems, "; "))
	}
	return nil
}

// conditions are what the steps need.
type conditions struct {
	server                      int
	version, encoding           string
	readOnly, standby           bool
	role, database              string
	public, usePublic           bool // schema public is there, and the role may make tables in it
	river, makeRiver, halfRiver bool // schema river is there; the role may make it or its tables; its tables are of another program
	foreign                     []string
	notOwned                    []string
}

// readConditions has the names that the steps create as $1, the schema of River as $2.
const readConditions = `
WITH wanted AS (SELECT unnest($1::text[]) AS name), known AS (SELECT to_regclass('public.goose_db_version') IS NOT NULL AS migrated)
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
       (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
       current_setting('transaction_read_only') = 'on', pg_is_in_recovery(), current_user, current_database(),
       to_regnamespace('public') IS NOT NULL,
       coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'USAGE') AND has_schema_privilege(to_regnamespace('public')::oid, 'CREATE'), false),
       to_regnamespace($2) IS NOT NULL,
       CASE WHEN to_regnamespace($2) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(to_regnamespace($2)::oid, 'CREATE') END,
       to_regclass($2 || '.river_job') IS NOT NULL AND to_regclass($2 || '.river_migration') IS NULL,
       ARRAY(SELECT c.relname::text FROM pg_class c JOIN wanted w ON w.name = c.relname, known
             WHERE c.relnamespace = to_regnamespace('public') AND NOT known.migrated
             UNION SELECT p.proname || '()' FROM pg_proc p JOIN wanted w ON w.name = p.proname, known
             WHERE p.pronamespace = to_regnamespace('public') AND NOT known.migrated
             UNION SELECT t.typname::text FROM pg_type t JOIN wanted w ON w.name = t.typname, known
             WHERE t.typnamespace = to_regnamespace('public') AND NOT known.migrated ORDER BY 1),
       ARRAY(SELECT c.relname::text FROM pg_class c JOIN wanted w ON w.name = c.relname, known
             WHERE c.relnamespace = to_regnamespace('public') AND known.migrated AND c.relkind IN ('r', 'p', 'v')
               AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1)`

// problems returns what is wrong, each with what to do.
func (c conditions) problems() []string {
	var all []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(c.server < minServer, "it is Postgres %s: use 15 or later", c.version)
	add(c.encoding != "UTF8", "its encoding is %s: make it anew with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", c.encoding)
	add(c.standby, "it is a standby: connect to the primary")
	add(c.readOnly && !c.standby, "it is read-only: find out why (SHOW transaction_read_only)")
	add(!c.public, "it has no schema public: CREATE SCHEMA public")
	add(c.public && !c.usePublic, "role %s may not make tables in schema public: GRANT USAGE, CREATE ON SCHEMA public TO %[1]q, or set DATABASE_MIGRATE_URL to the owner", c.role)
	add(!c.makeRiver && !c.river, "role %s may not make the schema river: GRANT CREATE ON DATABASE %q TO %[1]q, or set DATABASE_MIGRATE_URL to the owner", c.role, c.database)
	add(!c.makeRiver && c.river, "role %s may not make tables in schema river: GRANT USAGE, CREATE ON SCHEMA river TO %[1]q, or set DATABASE_MIGRATE_URL to the owner", c.role)
	add(c.halfRiver, "the tables in schema river are not of Dealbox: give Dealbox a database of its own")
	add(len(c.foreign) > 0, "schema public holds another program's %s, names that Dealbox needs: give Dealbox a database of its own", strings.Join(c.foreign, ", "))
	add(len(c.notOwned) > 0, "role %s does not own %s: set DATABASE_MIGRATE_URL to the role that does", c.role, strings.Join(c.notOwned, ", "))
	return all
}

var createStatement = regexp.MustCompile(`(?m)^CREATE (?:OR REPLACE )?(?:UNIQUE )?(?:TABLE|VIEW|FUNCTION|INDEX) (\w+)`)

// createdNames returns what our steps create in schema public.
func createdNames() ([]string, error) {
	steps, err := fs.Glob(files, "0*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	var names []string
	for _, step := range steps {
		sql, err := files.ReadFile(step)
		if err != nil {
			return nil, fmt.Errorf("read a migration: %w", err)
		}
		for _, match := range createStatement.FindAllSubmatch(sql, -1) {
			names = append(names, string(match[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
