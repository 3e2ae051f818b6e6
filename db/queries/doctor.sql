-- name: DoctorServer :one
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version')::text AS version;

-- name: DoctorHistory :one
-- What the service's role could do to history: to the tables that are written once,
-- with their days, and to those of which columns are; see db/migrations/grants.sql.
-- A trigger that fires for replicas alone is as good as disabled.
WITH written AS (
    SELECT to_regclass('public.' || name) AS oid, NULL::text[] AS fixed
    FROM unnest('{inbox_event,mirror_change,alert_event,circuit_breaker_event,retention_event,operator_action}'::text[]) AS name
    UNION ALL SELECT to_regclass('public.alert'), '{fingerprint,rule,subject,first_seen}'
    UNION ALL SELECT to_regclass('public.notification'), '{alert_id,channel,reason,sequence,created_at}'
    UNION ALL SELECT to_regclass('public.silence'), '{rule,subject,author,comment,created_at,expires_at}'
    UNION ALL SELECT inhrelid, NULL FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass('public.inbox_event')
), history AS (
    SELECT c.oid, c.relname, c.relowner, w.fixed, c.relname <> 'retention_event' AND NOT c.relispartition AS grows
    FROM written w JOIN pg_catalog.pg_class c ON c.oid = w.oid
)
SELECT (SELECT count(*) FROM history)::int AS tables,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)::boolean AS superuser,
       (SELECT coalesce(bool_or(pg_has_role(relowner, 'USAGE')), false) FROM history)::boolean AS owner,
       (SELECT coalesce(bool_and(has_table_privilege(oid, 'INSERT')), false) FROM history WHERE grows)::boolean AS inserts,
       ARRAY(SELECT privilege || ' on ' || relname FROM history, unnest(ARRAY['DELETE', 'TRUNCATE']) privilege
             WHERE has_table_privilege(history.oid, privilege)
             UNION
             SELECT 'UPDATE on ' || relname FROM history JOIN pg_catalog.pg_attribute a ON attrelid = history.oid AND attnum > 0 AND NOT attisdropped
             WHERE (fixed IS NULL OR attname = ANY (fixed)) AND has_column_privilege(history.oid, attnum, 'UPDATE')
             ORDER BY 1)::text[] AS changes,
       ARRAY(SELECT relname || '.' || tgname FROM history JOIN pg_catalog.pg_trigger ON tgrelid = history.oid
             WHERE tgfoid = to_regproc('public.refuse_change') AND tgenabled NOT IN ('O', 'A') ORDER BY 1)::text[] AS disabled_triggers;

-- name: DoctorOldestDay :one
-- The oldest day of which events are kept; no row when there is none.
SELECT to_date(right(c.relname, 8), 'YYYYMMDD')::date AS day FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('public.inbox_event') AND c.relname ~ '^inbox_event_\d{8}$'
ORDER BY day LIMIT 1;

-- name: DoctorLastDelivery :one
SELECT extract(epoch FROM now() - received_at)::float8 AS age_seconds, scheme FROM inbox_event ORDER BY received_on DESC, id DESC LIMIT 1;

-- name: DatabaseClock :one
SELECT clock_timestamp()::timestamptz AS now;
