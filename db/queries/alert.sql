-- name: AlertLockOrOpen :one
-- The open episode of a fingerprint, locked until the transaction ends; opened when there is none, with
-- occurrences 0, which AlertSave makes 1. Two transactions that meet here get the same episode, one after
-- the other.
INSERT INTO alert (fingerprint, rule, subject, level, message, occurrences, first_seen, last_seen)
VALUES (@fingerprint, @rule, @subject, @level, @message, 0, statement_timestamp(), statement_timestamp())
ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE SET occurrences = alert.occurrences
RETURNING *;

-- name: AlertLockOpen :one
-- The open episode of a fingerprint, locked until the transaction ends.
SELECT * FROM alert
WHERE fingerprint = @fingerprint AND resolved_at IS NULL
FOR NO KEY UPDATE;

-- name: AlertLockOfMember :one
-- An open episode of a rule, and of a subject unless that is empty, that has the member, locked until the transaction ends. Whoever
-- is no member takes no lock.
SELECT a.* FROM alert a
JOIN alert_member m ON m.alert_id = a.id AND m.member = @member
WHERE a.rule = @rule AND (@subject::text = '' OR a.subject = @subject) AND a.status IN ('firing', 'acknowledged', 'suppressed')
ORDER BY a.id LIMIT 1
FOR NO KEY UPDATE OF a;

-- name: AlertLock :one
-- An episode, locked until the transaction ends.
SELECT * FROM alert WHERE id = @id FOR NO KEY UPDATE;

-- name: AlertIsOpen :one
SELECT EXISTS (SELECT FROM alert WHERE fingerprint = @fingerprint AND resolved_at IS NULL);

-- name: AlertOpenSubjects :many
SELECT subject FROM alert WHERE rule = @rule AND resolved_at IS NULL ORDER BY subject;

-- name: AlertOpenSeconds :one
-- For how long an episode has been open; 0 when there is none.
SELECT coalesce((SELECT extract(epoch FROM clock_timestamp() - first_seen) FROM alert
                 WHERE fingerprint = @fingerprint AND resolved_at IS NULL), 0)::float8;

-- name: AlertMute :one
-- What mutes a rule and subject, if anything: a silence, or else an open episode of a rule that inhibits
-- it. An id is 0 when there is none; expires_at is of the silence.
SELECT coalesce(s.id, 0)::bigint AS silence_id, coalesce(s.author, '')::text AS author, coalesce(s.comment, '')::text AS comment,
       coalesce(s.expires_at, statement_timestamp())::timestamptz AS expires_at, coalesce(i.id, 0)::bigint AS inhibitor_id, coalesce(i.rule, '')::text AS inhibitor
FROM (VALUES (1)) AS one (row)
LEFT JOIN (SELECT * FROM silence
           WHERE silence.rule IN (@rule::text, '*') AND (silence.subject IS NULL OR silence.subject = @subject::text)
             AND silence.ended_at IS NULL AND silence.expires_at > statement_timestamp()
           ORDER BY silence.expires_at DESC, silence.id LIMIT 1) s ON true
LEFT JOIN (SELECT alert.id, alert.rule FROM alert
           WHERE alert.rule = ANY(@inhibitors::text[]) AND alert.status IN ('firing', 'acknowledged', 'suppressed')
           ORDER BY alert.id LIMIT 1) i ON s.id IS NULL;

-- name: AlertRefusedWebhooks :one
-- The newest episode in which Dealbox itself refused webhooks of our Strapi and that was open since the full
-- reconciliation before the last one began: what one of them was about was found missing after that.
SELECT rule, first_seen FROM alert
WHERE (rule = 'webhooks_refused' OR rule = 'signature_failures' AND subject = ANY(@own_subjects::text[]))
  AND (resolved_at IS NULL
       OR resolved_at > coalesce((SELECT r.started_at FROM reconciliation_run r
                                  WHERE r.kind = 'full' AND r.status = 'done' AND r.types IS NULL
                                  ORDER BY r.finished_at DESC OFFSET 1 LIMIT 1), '-infinity'))
ORDER BY id DESC LIMIT 1;

-- name: AlertSave :exec
-- One more occurrence of an episode that the caller has locked. notified: its channels are notified of it now.
UPDATE alert SET
    occurrences = @occurrences,
    members = @members,
    level = @level,
    status = @status,
    silence_id = sqlc.narg(silence_id),
    inhibitor_id = sqlc.narg(inhibitor_id),
    message = @message,
    details = @details,
    last_seen = CASE WHEN occurrences = 0 THEN first_seen ELSE statement_timestamp() END,
    notified_at = CASE WHEN @notified::boolean THEN statement_timestamp() ELSE notified_at END
WHERE id = @id;

-- name: AlertRegroup :exec
-- A member left an episode that the caller has locked.
UPDATE alert SET members = @members, message = @message, details = @details WHERE id = @id;

-- name: AlertClose :one
-- Resolves an episode that the caller has locked.
UPDATE alert SET status = 'resolved', resolved_at = greatest(last_seen, clock_timestamp()), silence_id = NULL, inhibitor_id = NULL
WHERE id = @id
RETURNING *;

-- name: AlertConclude :exec
-- The text and the details of an episode that the caller has just resolved.
UPDATE alert SET message = @message, details = @details WHERE id = @id;

-- name: AlertWaiting :one
-- How many webhooks wait for their document, but for those whose deletion is held back.
SELECT coalesce(sum(events - events_done), 0)::bigint AS webhooks FROM entity_sync
WHERE done_seq < want_seq AND state <> 'dead' AND held_back_since IS NULL;

-- name: AlertAcknowledge :one
UPDATE alert SET status = 'acknowledged', silence_id = NULL, inhibitor_id = NULL WHERE id = @id RETURNING *;

-- name: AlertSuppress :exec
-- Mutes an open episode that the caller has locked.
UPDATE alert SET status = 'suppressed', silence_id = nullif(@silence_id::bigint, 0), inhibitor_id = nullif(@inhibitor_id::bigint, 0)
WHERE id = @id;

-- name: AlertNotified :exec
-- The channels of an open episode that the caller has locked are notified (again).
UPDATE alert SET status = 'firing', silence_id = NULL, inhibitor_id = NULL, notified_at = statement_timestamp() WHERE id = @id;

-- name: AlertLockSilenced :many
-- The episodes that a new silence is about, in the order of their ids, locked.
SELECT * FROM alert
WHERE status = 'firing' AND (@rule::text = '*' OR rule = @rule) AND (sqlc.narg(subject)::text IS NULL OR subject = sqlc.narg(subject))
ORDER BY id
FOR NO KEY UPDATE;

-- name: AlertLockUnnotified :many
-- Firing episodes of some rules whose first notice still waits, locked. Those that another transaction holds are skipped:
-- waiting for them could be a deadlock, and what it costs is one notice too many.
SELECT * FROM alert
WHERE status = 'firing' AND rule = ANY(@rules::text[])
  AND EXISTS (SELECT FROM notification n WHERE n.alert_id = alert.id AND n.status = 'pending')
  AND NOT EXISTS (SELECT FROM notification n WHERE n.alert_id = alert.id AND (n.attempts > 0 OR n.status IN ('sent', 'failed')))
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: AlertLockUnmuted :many
-- Suppressed episodes whose silence is over, or whose inhibitor ended longer ago than the grace. Those that
-- another transaction holds are skipped: the next review finds them.
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
-- Episodes to remind of, locked: firing ones last notified longer ago than the given seconds, or never, as
-- a command knows no channel; and groups that have doubled since the largest notice that was sent or failed
-- for good, and since somebody acknowledged them, unless a notice waits that no channel was offered yet, as
-- it will count the members itself.
SELECT * FROM alert
WHERE status IN ('firing', 'acknowledged')
  AND ((status = 'firing' AND (notified_at IS NULL OR notified_at < statement_timestamp() - make_interval(secs => @every_seconds::float8)))
       OR (members > 1
           AND members >= 2 * greatest(
               (SELECT max(n.members) FROM notification n WHERE n.alert_id = alert.id AND n.status IN ('sent', 'failed')),
               (SELECT max((e.details->>'members')::bigint) FROM alert_event e WHERE e.alert_id = alert.id AND e.kind = 'acknowledged'))
           AND NOT EXISTS (SELECT FROM notification n WHERE n.alert_id = alert.id AND n.status = 'pending' AND n.attempts = 0)))
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

-- name: AlertMemberJoin :execrows
-- Adds a member to an episode that the caller has locked; no row when it was one already, which then only
-- gets its new reason and texts.
WITH known AS (UPDATE alert_member SET name = @name, value = @value, shown = @shown, link = @link, reason = @reason
               WHERE alert_id = @alert_id AND member = @member RETURNING member)
INSERT INTO alert_member (alert_id, member, name, value, shown, link, reason)
SELECT @alert_id, @member, @name, @value, @shown, @link, @reason WHERE NOT EXISTS (SELECT FROM known);

-- name: AlertMemberLeave :one
DELETE FROM alert_member WHERE alert_id = @alert_id AND member = @member RETURNING name, value;

-- name: AlertMembers :many
-- The members of an episode, those that joined first first.
SELECT member, name, value, shown, link, reason, joined_at FROM alert_member
WHERE alert_id = @alert_id
ORDER BY joined_at, member
LIMIT @max_rows;

-- name: AlertLeavers :many
-- What became of the members of an episode: how many left for each reason, by the last time that each left.
SELECT reason, count(*) AS members
FROM (SELECT DISTINCT ON (details->>'member') reason FROM alert_event
      WHERE alert_id = @alert_id AND kind = 'left'
      ORDER BY details->>'member', id DESC) AS last
GROUP BY reason
ORDER BY count(*) DESC, reason;

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

-- name: AlertRuleKnown :one
SELECT EXISTS (SELECT FROM alert WHERE rule = @rule);
