-- name: AlertLockOpen :one
-- The open episode of a fingerprint, locked until the transaction ends.
SELECT id, level FROM alert
WHERE fingerprint = @fingerprint AND resolved_at IS NULL
FOR NO KEY UPDATE;

-- name: AlertOpen :one
-- Opens an episode. No row when another transaction has just opened it.
INSERT INTO alert (fingerprint, rule, subject, level, message, details, first_seen, last_seen)
VALUES (@fingerprint, @rule, @subject, @level, @message, @details, statement_timestamp(), statement_timestamp())
ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO NOTHING
RETURNING id;

-- name: AlertRepeat :one
-- One more occurrence of an episode that the caller has locked.
UPDATE alert SET
    occurrences = occurrences + 1,
    level = @level,
    message = @message,
    details = @details,
    last_seen = statement_timestamp()
WHERE id = @id
RETURNING occurrences;

-- name: AlertResolve :one
-- Closes the open episode of a fingerprint; no row when there is none.
UPDATE alert SET status = 'resolved', resolved_at = greatest(last_seen, clock_timestamp())
WHERE fingerprint = @fingerprint AND resolved_at IS NULL
RETURNING id, level, occurrences, first_seen, resolved_at::timestamptz AS resolved_at;

-- name: AlertEventAppend :exec
INSERT INTO alert_event (alert_id, kind, level, actor, reason, details)
VALUES (@alert_id, @kind, @level, @actor, @reason, @details);

-- name: AlertEventAppendRepeat :exec
-- Appends a repeat unless the episode's last history row is younger than the given seconds.
INSERT INTO alert_event (alert_id, kind, level, actor, reason, details)
SELECT @alert_id, 'repeated', @level, @actor, '', @details
WHERE NOT EXISTS (
    SELECT FROM (SELECT e.at FROM alert_event e WHERE e.alert_id = @alert_id ORDER BY e.id DESC LIMIT 1) last
    WHERE last.at > clock_timestamp() - make_interval(secs => @quiet_seconds::float8));

-- name: AlertList :many
-- Newest first, from before (before_seen, before_id).
SELECT id, rule, subject, level, status, message, details, occurrences, first_seen, last_seen, resolved_at
FROM alert
WHERE level = ANY(@levels::text[])
  AND status = ANY(@statuses::text[])
  AND (@rule::text = '' OR rule = @rule)
  AND last_seen >= @since AND last_seen < @until
  AND (last_seen, id) < (@before_seen::timestamptz, @before_id::bigint)
ORDER BY last_seen DESC, id DESC
LIMIT @max_rows;

-- name: AlertCount :many
-- Episodes by level and status.
SELECT level, status, count(*) AS episodes FROM alert GROUP BY level, status;
