-- name: AlertLockOpen :one
-- The open episode of a fingerprint, locked until the transaction ends.
SELECT id, level, status, last_seen FROM alert
WHERE fingerprint = @fingerprint AND resolved_at IS NULL
FOR NO KEY UPDATE;

-- name: AlertLock :one
-- An episode, locked until the transaction ends.
SELECT * FROM alert WHERE id = @id FOR NO KEY UPDATE;

-- name: AlertMute :one
-- What keeps a rule and subject from being told, if anything: a silence, or an
-- open episode of a rule that explains it.
SELECT coalesce((SELECT s.id FROM silence s
                 WHERE s.rule IN (@rule::text, '*') AND (s.subject IS NULL OR s.subject = @subject::text)
                   AND s.ended_at IS NULL AND s.expires_at > statement_timestamp()
                 ORDER BY s.expires_at DESC, s.id LIMIT 1), 0)::bigint AS silence_id,
       coalesce((SELECT a.id FROM alert a
                 WHERE a.rule = ANY(@inhibitors::text[]) AND a.status IN ('firing', 'acknowledged', 'suppressed')
                 ORDER BY a.id LIMIT 1), 0)::bigint AS inhibitor_id;

-- name: AlertOpen :one
-- Opens an episode. No row when another transaction has just opened it. The ids
-- of what mutes it are 0 when nothing does. Told: the caller knows the channels.
INSERT INTO alert (fingerprint, rule, subject, level, status, message, details, first_seen, last_seen,
                   silence_id, inhibitor_id, notified_at)
VALUES (@fingerprint, @rule, @subject, @level, @status, @message, @details, statement_timestamp(), statement_timestamp(),
        nullif(@silence_id::bigint, 0), nullif(@inhibitor_id::bigint, 0),
        CASE WHEN @told::boolean AND @status <> 'suppressed' THEN statement_timestamp() END)
ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO NOTHING
RETURNING id;

-- name: AlertRepeat :one
-- One more occurrence of an episode that the caller has locked. One that worsens
-- is told, so it is firing again when somebody had acknowledged what it was.
UPDATE alert SET
    occurrences = occurrences + 1,
    level = @level,
    message = @message,
    details = @details,
    last_seen = statement_timestamp(),
    status = CASE WHEN @worse::boolean AND status = 'acknowledged' THEN 'firing' ELSE status END,
    notified_at = CASE WHEN @worse AND @told::boolean AND status <> 'suppressed' THEN statement_timestamp() ELSE notified_at END
WHERE id = @id
RETURNING occurrences;

-- name: AlertClose :one
-- Resolves an episode that the caller has locked.
UPDATE alert SET status = 'resolved', resolved_at = greatest(last_seen, clock_timestamp()), silence_id = NULL, inhibitor_id = NULL
WHERE id = @id
RETURNING *;

-- name: AlertAcknowledge :one
UPDATE alert SET status = 'acknowledged', silence_id = NULL, inhibitor_id = NULL WHERE id = @id RETURNING *;

-- name: AlertSuppress :exec
-- Mutes an open episode that the caller has locked.
UPDATE alert SET status = 'suppressed', silence_id = nullif(@silence_id::bigint, 0), inhibitor_id = nullif(@inhibitor_id::bigint, 0)
WHERE id = @id;

-- name: AlertTold :exec
-- An open episode that the caller has locked is told (again).
UPDATE alert SET status = 'firing', silence_id = NULL, inhibitor_id = NULL, notified_at = statement_timestamp() WHERE id = @id;

-- name: AlertLockSilenced :many
-- The episodes that a new silence is about, in the order of their ids, locked.
SELECT * FROM alert
WHERE status = 'firing' AND (@rule::text = '*' OR rule = @rule) AND (sqlc.narg(subject)::text IS NULL OR subject = sqlc.narg(subject))
ORDER BY id
FOR NO KEY UPDATE;

-- name: AlertLockReleasable :many
-- Suppressed episodes whose silence is over, or whose inhibitor ended long enough
-- ago for them to have ended, too. Those that a transaction holds are left for later.
SELECT alert.* FROM alert
WHERE alert.status = 'suppressed'
  AND NOT EXISTS (SELECT FROM silence s WHERE s.id = alert.silence_id
                  AND s.ended_at IS NULL AND s.expires_at > statement_timestamp())
  AND NOT EXISTS (SELECT FROM alert i WHERE i.id = alert.inhibitor_id
                  AND (i.resolved_at IS NULL OR i.resolved_at > statement_timestamp() - make_interval(secs => @grace_seconds::float8)))
ORDER BY alert.id
LIMIT @max_rows
FOR NO KEY UPDATE SKIP LOCKED;

-- name: AlertLockReminders :many
-- Episodes that were last told longer ago than the given seconds, or never, as a
-- command knows no channel; locked.
SELECT * FROM alert
WHERE status = 'firing'
  AND (notified_at IS NULL OR notified_at < statement_timestamp() - make_interval(secs => @every_seconds::float8))
ORDER BY notified_at NULLS FIRST
LIMIT @max_rows
FOR NO KEY UPDATE SKIP LOCKED;

-- name: AlertLockQuiet :many
-- Open episodes of a rule, and of a subject unless it is empty, that has not fired for the
-- given seconds, locked.
SELECT * FROM alert
WHERE rule = @rule AND (@subject::text = '' OR subject = @subject) AND status IN ('firing', 'acknowledged', 'suppressed')
  AND last_seen < statement_timestamp() - make_interval(secs => @quiet_seconds::float8)
ORDER BY id
LIMIT @max_rows
FOR NO KEY UPDATE SKIP LOCKED;

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

-- name: AlertGet :one
SELECT * FROM alert WHERE id = @id;

-- name: AlertEvents :many
-- The newest rows of an episode's history, newest first.
SELECT id, at, kind, level, actor, reason, details FROM alert_event
WHERE alert_id = @alert_id
ORDER BY id DESC
LIMIT @max_rows;

-- name: AlertList :many
-- Newest first, from before (before_seen, before_id): one index range for each
-- status and level, merged. A second upper bound would be a filter, not a range.
SELECT * FROM alert
WHERE alert.id IN (
    SELECT found.id
    FROM unnest(@statuses::text[]) AS s (status)
    CROSS JOIN unnest(@levels::text[]) AS l (level)
    CROSS JOIN LATERAL (
        SELECT a.id, a.last_seen FROM alert a
        WHERE a.status = s.status AND a.level = l.level
          AND a.last_seen >= @since
          AND (a.last_seen, a.id) < (@before_seen::timestamptz, @before_id::bigint)
        ORDER BY a.last_seen DESC, a.id DESC
        LIMIT @max_rows) found
    ORDER BY found.last_seen DESC, found.id DESC
    LIMIT @max_rows)
ORDER BY last_seen DESC, alert.id DESC;

-- name: AlertListOfRule :many
-- AlertList of one rule.
SELECT * FROM alert
WHERE alert.id IN (
    SELECT found.id
    FROM unnest(@statuses::text[]) AS s (status)
    CROSS JOIN unnest(@levels::text[]) AS l (level)
    CROSS JOIN LATERAL (
        SELECT a.id, a.last_seen FROM alert a
        WHERE a.rule = @rule AND a.status = s.status AND a.level = l.level
          AND a.last_seen >= @since
          AND (a.last_seen, a.id) < (@before_seen::timestamptz, @before_id::bigint)
        ORDER BY a.last_seen DESC, a.id DESC
        LIMIT @max_rows) found
    ORDER BY found.last_seen DESC, found.id DESC
    LIMIT @max_rows)
ORDER BY last_seen DESC, alert.id DESC;

-- name: AlertCount :many
-- Episodes by rule, level and status.
SELECT rule, level, status, sum(episodes)::bigint AS episodes FROM alert_tally
GROUP BY rule, level, status
HAVING sum(episodes) > 0;

-- name: AlertTallyFold :exec
-- Adds up what was counted since the last time. Readers see all of it or none.
WITH gone AS (DELETE FROM alert_tally RETURNING *)
INSERT INTO alert_tally SELECT rule, level, status, sum(episodes) FROM gone
GROUP BY rule, level, status HAVING sum(episodes) <> 0;

-- name: AlertHourFold :exec
-- The same for the newest hours; those before were folded when they were.
WITH gone AS (DELETE FROM alert_hour WHERE hour >= date_trunc('hour', now(), 'UTC') - interval '1 hour' RETURNING *)
INSERT INTO alert_hour
SELECT hour, rule, level, sum(raised), sum(resolved), sum(open_seconds), max(open_longest), sum(sent), sum(failed), sum(suppressed)
FROM gone GROUP BY hour, rule, level;

-- name: AlertHours :many
SELECT hour, sum(raised)::bigint AS raised, sum(resolved)::bigint AS resolved,
       sum(open_seconds)::float8 AS open_seconds, max(open_longest)::float8 AS open_longest,
       sum(sent)::bigint AS sent, sum(failed)::bigint AS failed, sum(suppressed)::bigint AS suppressed
FROM alert_hour
WHERE hour >= @since AND hour < @until
GROUP BY hour ORDER BY hour;
