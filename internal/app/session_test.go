package app

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgerr"
	"dealbox/internal/pgtest"
)

// What a role or a database sets for its sessions changes nothing of Dealbox's, nor
// does a schema that is named like the role.
func TestOpenPool_DatabaseCannotOverride(t *testing.T) {
	t.Parallel()
	base := pgtest.URL(t)
	admin := pgtest.OpenOn(t, base)
	admin.MustExec("DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I; CREATE TABLE %1$I.entity_sync (x int)', current_user); END $$")
	for setting, hostile := range map[string]string{
		"search_path": "pg_temp", "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
		"default_transaction_deferrable": "on", "synchronous_commit": "off", "client_encoding": "LATIN1", "timezone": "Asia/Bangkok",
		"datestyle": "German", "intervalstyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "-15",
		"standard_conforming_strings": "off", "row_security": "off", "statement_timeout": "1h", "lock_timeout": "1h",
		"idle_in_transaction_session_timeout": "1h", "idle_session_timeout": "1h",
	} {
		admin.MustExec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET " + setting + " = %L', current_database(), '" + hostile + "'); END $$")
	}
	pool := mustOpen(t, base, CommandPool)
	for setting, want := range map[string]string{
		"search_path": "public", "transaction_isolation": "read committed", "transaction_read_only": "off", "transaction_deferrable": "off",
		"synchronous_commit": "on", "client_encoding": "UTF8", "TimeZone": "UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres",
		"bytea_output": "hex", "extra_float_digits": "1", "standard_conforming_strings": "on", "row_security": "on", "statement_timeout": "5s",
		"lock_timeout": "2s", "idle_in_transaction_session_timeout": "5s", "idle_session_timeout": "0",
	} {
		require.Equal(t, want, mustShow(t, pool, setting), setting)
	}
	_, err := pool.Exec(t.Context(), "INSERT INTO entity_sync (uid, document_id) VALUES ('u', 'd')")
	require.NoError(t, err)
}

// A session that became read-only is closed with its first error, so the pool does not
// keep it until it is an hour old.
func TestOpenPool_ClosesAReadOnlySession(t *testing.T) {
	t.Parallel()
	options := CommandPool
	options.MaxConns = 1
	pool := mustOpen(t, pgtest.URL(t), options)
	_, err := pool.Exec(t.Context(), "SET default_transaction_read_only = on")
	require.NoError(t, err)
	const write = "INSERT INTO entity_sync (uid, document_id) VALUES ('u', 'd')"
	_, err = pool.Exec(t.Context(), write)
	require.True(t, pgerr.IsReadOnly(err), err)
	_, err = pool.Exec(t.Context(), write)
	require.NoError(t, err)
}

// A server that takes no writes is not connected to, unless the URL says so.
func TestOpenPool_RefusesAReadOnlyServer(t *testing.T) {
	t.Parallel()
	base := pgtest.URL(t)
	ping := func(target string) error {
		config := mustOpen(t, target, PoolOptions{MaxConns: 1}).Config()
		config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on" // as a standby is
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return Ping(t.Context(), pool)
	}
	err := ping(base)
	require.True(t, pgerr.IsReadOnly(err), err)
	u, err := url.Parse(base)
	require.NoError(t, err)
	q := u.Query()
	q.Set("target_session_attrs", "any")
	u.RawQuery = q.Encode()
	require.NoError(t, ping(u.String()))
}
