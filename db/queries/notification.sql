-- name: NotificationEnqueue :many
-- One row for each of the channels; 'resolved' asks for none, as it goes to those
-- that heard of the episode, whoever ends it. The caller holds the lock of the alert's row,
-- so two transactions cannot take the same sequence. What a channel hears first of
-- an episode is always 'first'; 'resolved' goes only where a firing was enqueued
-- that has not failed for good. With suppressed_by the rows say what is not sent.
INSERT INTO notification (alert_id, channel, reason, sequence, status, suppressed_by, suppressed_at)
SELECT @alert_id, c.channel,
       CASE WHEN @reason::text IN ('escalated', 'reminder') AND NOT told.firing THEN 'first' ELSE @reason END,
       coalesce(told.last, 0) + 1,
       CASE WHEN @suppressed_by::text = '' THEN 'pending' ELSE 'suppressed' END,
       nullif(@suppressed_by, ''),
       CASE WHEN @suppressed_by <> '' THEN clock_timestamp() END
FROM (SELECT unnest(@channels::text[]) AS channel
      UNION SELECT heard.channel FROM notification heard WHERE heard.alert_id = @alert_id AND @reason = 'resolved') c
CROSS JOIN LATERAL (
    SELECT max(n.sequence) AS last,
           coalesce(bool_or(n.reason <> 'resolved' AND n.status IN ('pending', 'sent')), false) AS firing
    FROM notification n WHERE n.alert_id = @alert_id AND n.channel = c.channel) told
WHERE @reason <> 'resolved' OR told.firing
RETURNING id, channel, status;

-- name: NotificationGet :one
-- A notification with its alert as it is now, how many of the same episode and
-- channel must go before it, and how many notices of it went out.
SELECT n.id, n.alert_id, n.channel, n.reason, n.sequence, n.status, n.created_at,
       extract(epoch FROM clock_timestamp() - n.created_at)::float8 AS age_seconds,
       ahead.waiting AS ahead,
       coalesce(extract(epoch FROM ahead.next_attempt_at - clock_timestamp()), 0)::float8 AS ahead_seconds,
       ahead.notices, ahead.told,
       a.rule, a.subject, a.level, a.status AS alert_status, a.message, a.details,
       a.occurrences, a.first_seen, a.last_seen, a.resolved_at, (a.silence_id IS NOT NULL)::boolean AS silenced
FROM notification n
JOIN alert a ON a.id = n.alert_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE p.status = 'pending') AS waiting,
           max(p.next_attempt_at) FILTER (WHERE p.status = 'pending') AS next_attempt_at,
           count(*) FILTER (WHERE p.status = 'sent' AND p.reason <> 'resolved') AS notices,
           count(*) FILTER (WHERE p.status IN ('pending', 'sent')) AS told
    FROM notification p
    WHERE p.alert_id = n.alert_id AND p.channel = n.channel AND p.sequence < n.sequence) ahead
WHERE n.id = @id;

-- name: NotificationBegin :one
-- Counts an attempt before it is made; no row when the notification is settled.
UPDATE notification SET attempts = attempts + 1
WHERE id = @id AND status = 'pending'
RETURNING attempts;

-- name: NotificationSent :execrows
-- The error says which receivers did not take what others took.
UPDATE notification SET status = 'sent', sent_at = clock_timestamp(), last_error = @last_error, next_attempt_at = NULL
WHERE id = @id AND status = 'pending';

-- name: NotificationLeft :exec
-- Which receivers still have not got what others took.
UPDATE notification SET last_error = @last_error WHERE id = @id AND status = 'sent';

-- name: NotificationFailed :execrows
UPDATE notification SET status = 'failed', failed_at = clock_timestamp(), last_error = @last_error, next_attempt_at = NULL
WHERE id = @id AND status = 'pending';

-- name: NotificationSuppressed :execrows
UPDATE notification SET status = 'suppressed', suppressed_at = clock_timestamp(), suppressed_by = @suppressed_by, next_attempt_at = NULL
WHERE id = @id AND status = 'pending';

-- name: NotificationRetry :exec
UPDATE notification SET last_error = @last_error,
    next_attempt_at = clock_timestamp() + make_interval(secs => @wait_seconds::float8)
WHERE id = @id AND status = 'pending';

-- name: NotificationOf :many
-- The newest notifications of an episode, newest first.
SELECT id, channel, reason, sequence, status, attempts, last_error, created_at, next_attempt_at,
       sent_at, failed_at, suppressed_at, suppressed_by
FROM notification
WHERE alert_id = @alert_id
ORDER BY id DESC
LIMIT @max_rows;

-- name: NotificationStats :one
SELECT (SELECT count(*) FROM notification WHERE status = 'pending') AS pending,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM notification
        WHERE status = 'pending')::float8 AS oldest_pending_seconds,
       (SELECT count(*) FROM notification
        WHERE status = 'failed' AND failed_at > now() - interval '24 hours') AS failed_24h,
       (SELECT sent_at FROM notification WHERE status = 'sent' ORDER BY sent_at DESC LIMIT 1) AS last_sent_at;

-- name: NotificationOrphans :many
-- Notifications that wait for long and whose job is gone.
SELECT n.id, n.channel FROM notification n
WHERE n.status = 'pending' AND n.created_at < now() - interval '2 minutes'
  AND (n.next_attempt_at IS NULL OR n.next_attempt_at < now() - interval '2 minutes')
  AND NOT EXISTS (SELECT FROM river.river_job j WHERE j.kind = 'notification_send'
                  AND j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
                  AND (j.args->>'notification_id')::bigint = n.id)
ORDER BY n.id LIMIT 1000;
