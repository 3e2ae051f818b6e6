-- name: HealthOverview :one
-- The main measurement of health, in one statement. Every part is a single row or a
-- small range of an index, so it takes the same time whatever is stored.
SELECT clock_timestamp()::timestamptz AS database_now,
       coalesce(inbox_partition_horizon() - (now() AT TIME ZONE 'UTC')::date, -1)::integer AS partition_days_ahead,
       l.received, l.processed::bigint AS processed, l.pending, l.dead, l.ignored, l.quarantined,
       l.pending_documents, l.dead_documents,
       (current_setting('transaction_read_only') = 'on')::boolean AS read_only,
       coalesce(greatest(extract(epoch FROM clock_timestamp() - l.oldest_pending_since), 0), 0)::double precision AS oldest_pending_age_seconds,
       EXISTS (SELECT FROM alert a WHERE a.rule = @token_rule AND a.resolved_at IS NULL) AS token_refused,
       ARRAY(SELECT a.subject FROM alert a WHERE a.rule = @channel_rule AND a.status IN ('firing', 'acknowledged', 'suppressed')
             ORDER BY a.subject)::text[] AS failing_channels
FROM inbox_ledger l;

-- name: HealthClock :one
-- The database's clock now, not the time at which the transaction began.
SELECT clock_timestamp()::timestamptz AS now;

-- name: HealthReady :one
-- Whether a webhook received now has a partition to go to, and whether this session
-- may write. It may not on a standby, whatever the session's settings are.
SELECT (inbox_partition_horizon() IS NOT NULL)::boolean AS partition_exists,
       (current_setting('transaction_read_only') = 'on')::boolean AS read_only;

-- name: HealthEpisodes :many
-- Open episodes that a person should know of, the worst first. Silenced ones count.
SELECT id, rule, subject, level, status, message, first_seen, count(*) OVER () AS open
FROM alert
WHERE resolved_at IS NULL AND level <> 'info'
ORDER BY array_position('{critical,error,warning}'::text[], level), status = 'suppressed', first_seen, id
LIMIT @max_rows;

-- name: HealthOpenAlerts :many
-- How many episodes are open, by level and rule. Silenced ones count.
SELECT level, rule, count(*) AS open
FROM alert
WHERE resolved_at IS NULL AND level <> 'info'
GROUP BY level, rule;

-- name: HealthQueues :many
-- Jobs that are not finished. Finished ones stay for 15 minutes and are many, so
-- the states are listed: River's index starts with state and queue.
SELECT queue, state::text AS state, count(*) AS jobs
FROM river.river_job
WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
GROUP BY queue, state
ORDER BY queue, state;

-- name: WorkersAlive :one
-- Whether River has a leader: only a process with workers leads, and it says so every few seconds.
SELECT EXISTS (SELECT FROM river.river_leader WHERE expires_at > now()) AS alive;
