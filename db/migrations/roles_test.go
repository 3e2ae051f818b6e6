package migrations_test

import (
	"context"
	"fmt"
	"net/url"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/pgtest"
)

// session is one connection in some role.
type session struct {
	t    *testing.T
	conn *pgx.Conn
}

func connect(t *testing.T, url string) session {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return session{t, conn}
}

func (s session) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.conn.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err, sql)
}

// refusal runs a statement that this role may not run, and returns the error's text.
func (s session) refusal(sql string) string {
	s.t.Helper()
	_, err := s.conn.Exec(s.t.Context(), sql)
	var pg *pgconn.PgError
	require.ErrorAs(s.t, err, &pg, sql)
	require.Equal(s.t, "42501", pg.Code, "%s: %s", sql, pg.Message)
	return pg.Message
}

// forbidden demands that the role lacks the privilege. Privileges come before triggers,
// which would refuse the statement, too.
func (s session) forbidden(sql string) {
	s.t.Helper()
	require.NotContains(s.t, s.refusal(sql), "append-only", sql)
}

// triggered demands that a trigger refuses the statement.
func (s session) triggered(sql string) {
	s.t.Helper()
	require.Contains(s.t, s.refusal(sql), "append-only", sql)
}

func (s session) names(sql string, args ...any) []string {
	s.t.Helper()
	rows, err := s.conn.Query(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err, sql)
	return names
}

// seedHistory writes a row into each table of history, so that there is one to change.
func (s session) seedHistory() {
	s.t.Helper()
	s.exec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, body)
		VALUES (gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, now(), sha256('1'), 'standard', '{}')`)
	s.exec("INSERT INTO mirror_change (uid, document_id, locale, seq, kind) VALUES ('u', 'd', '', 1, 'created')")
	s.exec("INSERT INTO circuit_breaker_event (name, at, generation, from_state, to_state, failure_count, actor, reason) VALUES ('strapi', now(), 1, 'closed', 'open', 5, 'dealbox', '')")
	s.exec("INSERT INTO alert (fingerprint, rule, level, message, first_seen, last_seen) VALUES ('v1:r:', 'r', 'error', 'm', now(), now())")
	s.exec("INSERT INTO alert_event (alert_id, kind, level, actor) VALUES (1, 'raised', 'error', 'dealbox')")
	s.exec("INSERT INTO notification (alert_id, channel, reason, sequence) VALUES (1, 'webhook', 'first', 1)")
	s.exec("INSERT INTO operator_action (actor, action) VALUES ('cli:ann', 'replay')")
	s.exec("INSERT INTO silence (rule, author, comment, expires_at) VALUES ('r', 'ann', 'upgrade', now() + interval '1 hour')")
}

// history are the tables that are written once, with a column of each.
var history = map[string]string{
	"inbox_event": "scheme", "mirror_change": "kind", "alert_event": "reason", "circuit_breaker_event": "reason",
	"operator_action": "actor",
}

// vanishing returns statements that would make rows of a table vanish.
func vanishing(table string) []string {
	return []string{"DELETE FROM " + table, "TRUNCATE " + table, "TRUNCATE " + table + " CASCADE"}
}

// tampering returns statements that would change or remove history.
func tampering() []string {
	var all []string
	for table, column := range history {
		all = append(all, fmt.Sprintf("UPDATE %s SET %s = %[2]s", table, column))
		all = append(all, vanishing(table)...)
	}
	for _, table := range []string{"alert", "notification", "silence"} {
		all = append(all, vanishing(table)...)
	}
	return append(all, "UPDATE silence SET author = 'bob', comment = 'x', rule = 'clock_skew', created_at = now() - interval '1 day'",
		"UPDATE silence SET subject = ''", "UPDATE silence SET expires_at = now() + interval '1 second', ended_at = now(), ended_by = 'bob'")
}

// misattributing are statements that would make an episode or a notification another
// one. What becomes of them is state.
var misattributing = []string{
	"UPDATE alert SET fingerprint = 'x'", "UPDATE alert SET rule = 'x'", "UPDATE alert SET subject = 'x'", "UPDATE alert SET first_seen = now()",
	"UPDATE notification SET alert_id = 2", "UPDATE notification SET channel = 'x'", "UPDATE notification SET receiver = 'x'", "UPDATE notification SET reason = 'reminder'",
	"UPDATE notification SET sequence = 2", "UPDATE notification SET status = 'sent', sent_at = now(), created_at = now()",
}

// today returns the name of today's partition of inbox_event.
func today(t *testing.T, s session) (partition string) {
	t.Helper()
	return s.names("SELECT 'inbox_event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")[0]
}

// Where one role owns everything, triggers alone keep the history.
func TestHistory_Triggers(t *testing.T) {
	t.Parallel()
	s := connect(t, pgtest.URL(t)) // a superuser: no privilege stops it
	s.seedHistory()
	for _, sql := range tampering() {
		s.triggered(sql)
	}
	for _, sql := range append(vanishing(today(t, s)), "UPDATE "+today(t, s)+" SET scheme = 'token'") {
		s.triggered(sql)
	}
	s.endsSilenceOnce()
}

// endsSilenceOnce ends the silence, which is all that may happen to it.
func (s session) endsSilenceOnce() {
	s.t.Helper()
	s.exec("UPDATE silence SET ended_at = clock_timestamp(), ended_by = 'ann'")
	s.triggered("UPDATE silence SET ended_by = 'bob'")
	s.triggered("UPDATE silence SET ended_at = NULL, ended_by = NULL")
}

func TestRoles_AppCannotChangeHistory(t *testing.T) {
	t.Parallel()
	roles := pgtest.SeparateRoles(t)
	app := connect(t, roles.App)
	app.seedHistory() // it may add to it
	partition := today(t, app)
	for _, sql := range append(append(tampering(), misattributing...),
		"ALTER TABLE alert_event DISABLE TRIGGER ALL", "DROP TRIGGER alert_event_append_only ON alert_event",
		"ALTER TABLE alert_event ADD COLUMN x int", "DROP TABLE alert_event", "DROP TABLE "+partition,
		"DELETE FROM "+partition, "SELECT FROM "+partition, "INSERT INTO "+partition+" SELECT * FROM inbox_event",
		"ALTER TABLE inbox_event DETACH PARTITION "+partition,
		"CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
		"SET session_replication_role = replica",
		"DELETE FROM forecast", "UPDATE forecast_month SET p50 = 1", "DELETE FROM reconciliation_run", "DELETE FROM reconciliation_difference",
	) {
		app.forbidden(sql)
	}
	app.endsSilenceOnce()
	require.Equal(t, []string{"1 1 1 1"}, connect(t, roles.Admin).names(`SELECT concat_ws(' ', (SELECT count(*) FROM inbox_event),
		(SELECT count(*) FROM alert_event), (SELECT count(*) FROM mirror_change), (SELECT count(*) FROM circuit_breaker_event))`))
}

// An earlier version of grants.sql gave the role more than this one does.
func TestRoles_UpgradeTakesBackWiderGrants(t *testing.T) {
	t.Parallel()
	roles := pgtest.SeparateRoles(t)
	connect(t, roles.App).seedHistory()
	owner := connect(t, roles.Owner)
	u, err := url.Parse(roles.App)
	require.NoError(t, err)
	for _, sql := range []string{
		"GRANT SELECT, INSERT, UPDATE ON alert, notification, silence TO %s", "GRANT SELECT, INSERT, UPDATE, DELETE ON reconciliation_run TO %s",
		"GRANT UPDATE (author) ON silence TO %s",
	} {
		owner.exec(fmt.Sprintf(sql, u.User.Username()))
	}
	app := connect(t, roles.App)
	app.exec("UPDATE notification SET created_at = now()") // the wide grant works
	_, err = migrations.Up(t.Context(), pgtest.PoolOn(t, roles.Owner), nil)
	require.NoError(t, err)
	for _, sql := range append(append(tampering(), misattributing...), "DELETE FROM reconciliation_run") {
		app.forbidden(sql)
	}
	app.endsSilenceOnce()
}

func TestRoles_AppHasNoDDL(t *testing.T) {
	t.Parallel()
	app := connect(t, pgtest.SeparateRoles(t).App)
	for _, sql := range []string{
		"CREATE TABLE public.x ()", "CREATE TABLE river.x ()", "CREATE TEMPORARY TABLE inbox_event ()", "CREATE SCHEMA x",
		"CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE VIEW public.x AS SELECT 1",
		"CREATE INDEX ON inbox_event (scheme)", "ALTER TABLE river.river_job ADD COLUMN x int", "DROP SCHEMA river CASCADE",
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)", "DELETE FROM river.river_migration",
		"CREATE ROLE dealbox_x",
	} {
		app.forbidden(sql)
	}
	app.exec("SELECT inbox_make_partitions(30)")
	require.Equal(t, []string{"30"}, app.names("SELECT (inbox_partition_horizon() - (now() AT TIME ZONE 'UTC')::date)::text"))
}

// A table without a line in grants.sql would make the service fail in production alone.
func TestRoles_EveryTableIsDecided(t *testing.T) {
	t.Parallel()
	app := connect(t, pgtest.SeparateRoles(t).App)
	forgotten := app.names(`SELECT c.oid::regclass::text FROM pg_class c
		WHERE c.relnamespace IN ('public'::regnamespace, 'river'::regnamespace) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
		  AND NOT starts_with(c.relname, 'audit_') AND NOT has_table_privilege(c.oid, 'SELECT')`)
	require.Empty(t, forgotten, "say in db/migrations/grants.sql what the app may do with them")
	require.Empty(t, app.names(`SELECT p.oid::regprocedure::text FROM pg_proc p
		WHERE p.pronamespace = 'public'::regnamespace AND prosecdef AND NOT has_function_privilege(p.oid, 'EXECUTE')`))
}

// What is not granted to a role of ours is nobody's: not even the functions that
// Postgres lets everybody call.
func TestRoles_StrangersGetNothing(t *testing.T) {
	t.Parallel()
	admin := connect(t, pgtest.SeparateRoles(t).Admin)
	require.Empty(t, admin.names(`SELECT p.oid::regprocedure::text FROM pg_proc p
		WHERE p.pronamespace = 'public'::regnamespace AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE a.grantee = 0)`))
	require.Empty(t, admin.names(`SELECT c.oid::regclass::text FROM pg_class c
		WHERE c.relnamespace IN ('public'::regnamespace, 'river'::regnamespace) AND EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee = 0)`))
}

// New migrations by the owner, on an empty database, and once more by anybody's mistake.
func TestRoles_FromNothing(t *testing.T) {
	t.Parallel()
	admin := pgtest.EmptyURL(t)
	require.NoError(t, pgtest.RunRolesSQL(t.Context(), admin))
	require.NoError(t, pgtest.RunRolesSQL(t.Context(), admin), "as often as you like")
	u, err := url.Parse(admin)
	require.NoError(t, err)
	role := strings.TrimPrefix(u.Path, "/") + "_owner"
	connect(t, admin).exec("ALTER ROLE " + role + " PASSWORD 'x'")
	u.User = url.UserPassword(role, "x")
	_, err = migrations.Up(t.Context(), pgtest.PoolOn(t, u.String()), nil)
	require.NoError(t, err)
	require.Equal(t, []string{role}, connect(t, admin).names(`SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
		WHERE relnamespace IN ('public'::regnamespace, 'river'::regnamespace) AND relkind IN ('r', 'p', 'v', 'S')`))
}

// A managed Postgres has no superuser: its administrator may make roles and owns the database.
func TestRoles_ByAnAdministratorWhoIsNoSuperuser(t *testing.T) {
	t.Parallel()
	superuser := pgtest.EmptyURL(t)
	u, err := url.Parse(superuser)
	require.NoError(t, err)
	database := strings.TrimPrefix(u.Path, "/")
	s := connect(t, superuser)
	s.exec(fmt.Sprintf("CREATE ROLE admin_%[1]s LOGIN CREATEROLE PASSWORD 'x'; ALTER DATABASE %[1]s OWNER TO admin_%[1]s", database))
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), superuser)
		require.NoError(t, err)
		_, err = conn.Exec(context.Background(), fmt.Sprintf("REASSIGN OWNED BY admin_%[1]s TO CURRENT_USER; DROP OWNED BY admin_%[1]s; DROP ROLE admin_%[1]s", database))
		require.NoError(t, err)
		require.NoError(t, conn.Close(context.Background()))
	})
	u.User = url.UserPassword("admin_"+database, "x")
	admin := u.String()
	_, err = migrations.Up(t.Context(), pgtest.PoolOn(t, admin), nil) // all was the administrator's
	require.NoError(t, err)
	require.NoError(t, pgtest.RunRolesSQL(t.Context(), admin))
	require.NoError(t, pgtest.RunRolesSQL(t.Context(), admin))

	s.exec("ALTER ROLE " + database + "_owner PASSWORD 'x'; ALTER ROLE " + database + "_app PASSWORD 'x'")
	u.User = url.UserPassword(database+"_owner", "x")
	_, err = migrations.Up(t.Context(), pgtest.PoolOn(t, u.String()), nil)
	require.NoError(t, err)
	u.User = url.UserPassword(database+"_app", "x")
	app := connect(t, u.String())
	app.seedHistory()
	app.forbidden("DELETE FROM alert_event")
	connect(t, admin).forbidden("TRUNCATE alert_event")
}

// The documented command, with the documented program.
func TestRoles_Psql(t *testing.T) {
	t.Parallel()
	psql, err := osexec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not on this machine; the other tests run the same file")
	}
	admin := pgtest.URL(t)
	for range 2 {
		out, err := osexec.Command(psql, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", admin, "--file", "../roles.sql").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Empty(t, string(out))
	}
}
