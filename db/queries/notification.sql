-- name: NotificationEnqueue :many
-- One row for each receiver of the channels: receivers[i] belongs to channels[i]. 'resolved' takes none, as it
-- goes to those who were notified of the episode, whoever ends it. The caller holds the lock of the alert's
-- row, so two transactions cannot take the same sequence. What a receiver hears first of an episode is always
-- 'first', and waits for the delay; 'resolved' goes only where a firing was enqueued that has not failed for
-- good. With suppressed_by the rows say what is not sent.
INSERT INTO notification (alert_id, channel, receiver, reason, sequence, status, suppressed_by, suppressed_at, next_attempt_at)
SELECT @alert_id, c.channel, c.receiver, c.reason, c.sequence,
       CASE WHEN @suppressed_by::text = '' THEN 'pending' ELSE 'suppressed' END,
       nullif(@suppressed_by, ''),
       CASE WHEN @suppressed_by <> '' THEN clock_timestamp() END,
       CASE WHEN @suppressed_by = '' AND c.reason = 'first' THEN clock_timestamp() + make_interval(secs => @first_delay_seconds::float8) END
FROM (
    SELECT r.channel, r.receiver, coalesce(before.last, 0) + 1 AS sequence, before.notified,
           CASE WHEN @reason::text IN ('escalated', 'reminder') AND NOT before.notified THEN 'first' ELSE @reason END AS reason
    FROM (SELECT unnest(@channels::text[]) AS channel, unnest(@receivers::text[]) AS receiver
          UNION SELECT n.channel, n.receiver FROM notification n WHERE n.alert_id = @alert_id AND @reason = 'resolved') r
    CROSS JOIN LATERAL (
        SELECT max(n.sequence) AS last,
               coalesce(bool_or(n.reason <> 'resolved' AND n.status IN ('pending', 'sent')), false) AS notified
        FROM notification n WHERE n.alert_id = @alert_id AND n.channel = r.channel AND n.receiver = r.receiver) before) c
WHERE @reason <> 'resolved' OR c.notified
RETURNING id, channel, next_attempt_at;

-- name: NotificationGet :one
-- A notification with its alert as it is now, and what came before it to the same receiver of the same
-- episode: how many wait, when the next of them is due, and how many notices were sent.
SELECT n.id, n.alert_id, n.channel, n.receiver, n.reason, n.sequence, n.status, n.created_at,
       extract(epoch FROM clock_timestamp() - n.created_at)::float8 AS age_seconds,
       before.waiting,
       coalesce(extract(epoch FROM before.next_attempt_at - clock_timestamp()), 0)::float8 AS waiting_seconds,
       before.notices,
       a.rule, a.subject, a.level, a.status AS alert_status, a.message, a.details, a.members,
       a.occurrences, a.first_seen, a.last_seen, a.resolved_at, (a.silence_id IS NOT NULL)::boolean AS silenced
FROM notification n
JOIN alert a ON a.id = n.alert_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE p.status = 'pending') AS waiting,
           max(p.next_attempt_at) FILTER (WHERE p.status = 'pending') AS next_attempt_at,
           count(*) FILTER (WHERE p.status = 'sent' AND p.reason <> 'resolved') AS notices
    FROM notification p
    WHERE p.alert_id = n.alert_id AND p.channel = n.channel AND p.receiver = n.receiver AND p.sequence < n.sequence) before
WHERE n.id = @id;

-- name: NotificationBegin :one
-- Counts an attempt before it is made; no row when the notification is no longer pending.
UPDATE notification SET attempts = attempts + 1
WHERE id = @id AND status = 'pending'
RETURNING attempts;

-- name: NotificationSent :execrows
UPDATE notification SET status = 'sent', sent_at = clock_timestamp(), members = @members, last_error = NULL, next_attempt_at = NULL
WHERE id = @id AND status = 'pending';

-- name: NotificationFailed :execrows
UPDATE notification SET status = 'failed', failed_at = clock_timestamp(), members = @members, last_error = @last_error, next_attempt_at = NULL
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
SELECT id, channel, receiver, reason, sequence, status, attempts, last_error, created_at, next_attempt_at,
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
