-- name: SamplePendingAge :one
-- How long the oldest event waits, in seconds; 0 when none does.
SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - l.oldest_pending_since), 0), 0)::float8 AS age_seconds
FROM inbox_ledger l;

-- name: SampleChannels :many
-- Channels that failed or are stuck, and have sent nothing since. Notifications about a failing channel do
-- not count, else the alert would keep itself alive. A failure counts for an hour, and longer while an
-- episode is open and its channel is configured: until something is sent. The failures of an ended episode
-- do not open another. No last_error: each attempt died before the channel answered.
WITH episode AS (
    SELECT subject AS channel, bool_or(resolved_at IS NULL) AS open, coalesce(max(resolved_at), '-infinity') AS ended
    FROM alert WHERE rule = @rule GROUP BY subject)
SELECT n.channel, count(*) FILTER (WHERE n.status = 'failed') AS failed, count(*) FILTER (WHERE n.status = 'pending') AS stuck,
       coalesce((array_agg(n.last_error ORDER BY n.id DESC) FILTER (WHERE n.last_error IS NOT NULL))[1], '')::text AS last_error
FROM notification n
JOIN alert a ON a.id = n.alert_id
LEFT JOIN episode e ON e.channel = n.channel
WHERE a.rule <> @rule
  AND ((n.status = 'pending' AND n.attempts >= 3)
       OR (n.status = 'failed' AND n.failed_at > coalesce(e.ended, '-infinity')
           AND (n.failed_at > now() - interval '1 hour' OR (e.open AND n.channel = ANY(@configured::text[])))))
  AND NOT EXISTS (SELECT FROM notification s WHERE s.channel = n.channel AND s.status = 'sent'
                  AND s.sent_at > least(n.created_at, n.failed_at) AND (s.sent_at > coalesce(n.failed_at, n.created_at) OR s.receiver <> n.receiver))
GROUP BY n.channel
ORDER BY n.channel;

-- name: SampleLock :many
-- The streaks before this review. The lock keeps two replicas from counting one minute twice.
SELECT rule, subject, bad, good FROM alert_sample ORDER BY rule, subject FOR UPDATE;

-- name: SampleStore :exec
INSERT INTO alert_sample (rule, subject, bad, good) VALUES (@rule, @subject, @bad, @good)
ON CONFLICT (rule, subject) DO UPDATE SET bad = excluded.bad, good = excluded.good;

-- name: SampleForget :exec
DELETE FROM alert_sample WHERE rule = @rule AND subject = @subject;
