package migrations_test

import (
	"bytes"
	"fmt"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/pgtest"
)

// Backup and restore as docs/operations.md says: into a new database, as its owner,
// whose privileges then come from `dealbox migrate up`.
func TestRoles_BackupAndRestore(t *testing.T) {
	t.Parallel()
	from := pgtest.SeparateRoles(t)
	server := connect(t, from.Admin)
	needTools(t, server)
	connect(t, from.App).seedHistory()
	file := filepath.Join(t.TempDir(), "dealbox.dump")
	tool(t, "pg_dump", "--format", "custom", "--file", file, "--dbname", from.Owner)

	to := pgtest.SeparateRoles(t)
	connect(t, to.Owner).exec("DROP SCHEMA river CASCADE")
	connect(t, to.Owner).exec(dropEverything)
	tool(t, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--dbname", to.Owner, file)
	applied, err := migrations.Up(t.Context(), pgtest.PoolOn(t, to.Owner), nil)
	require.NoError(t, err)
	require.Empty(t, applied)

	app := connect(t, to.App)
	require.Equal(t, []string{"1 1 1"}, app.names("SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event), (SELECT count(*) FROM alert_event), (SELECT count(*) FROM notification))"))
	app.forbidden("DELETE FROM alert_event")
	app.exec("SELECT inbox_make_partitions(20)")
	connect(t, to.Admin).triggered("DELETE FROM alert_event")
	connect(t, to.Auditor).exec("SELECT FROM audit_alert")
}

// dropEverything drops all that a role owns in public.
const dropEverything = `DO $$ DECLARE o record; BEGIN
	FOR o IN SELECT oid::regclass AS name, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition LOOP
		IF to_regclass(o.name::text) IS NOT NULL THEN
			EXECUTE format('DROP %s %s CASCADE', CASE o.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, o.name);
		END IF;
	END LOOP;
	FOR o IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP
		EXECUTE format('DROP FUNCTION %s', o.name);
	END LOOP;
END $$`

var major = regexp.MustCompile(`\d+`)

// needTools skips the test where pg_dump is missing or older than the server.
func needTools(t *testing.T, server session) {
	t.Helper()
	out, err := osexec.Command("pg_dump", "--version").Output()
	if err != nil {
		t.Skip("pg_dump is not on this machine")
	}
	theirs := server.names("SELECT current_setting('server_version')")[0]
	var ours, needed int
	_, err = fmt.Sscan(major.FindString(string(out))+" "+major.FindString(theirs), &ours, &needed)
	require.NoError(t, err)
	if ours < needed {
		t.Skipf("pg_dump %d is too old for Postgres %d", ours, needed)
	}
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := osexec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, bytes.TrimSpace(out))
}
