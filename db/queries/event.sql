-- name: EventGet :one
-- The primary key starts with the day, so the days are named that may hold it: a
-- lookup in a small index each.
SELECT e.id, e.received_at, e.scheme, e.event, e.uid, e.model, e.document_id, e.locale, e.sent_at, e.seq,
       e.body, e.body_bytes, e.body_sha256, e.quarantine_reason, e.status
FROM inbox_event_status e
WHERE e.received_on = ANY (@days::date[]) AND e.id = @id
LIMIT 1;

-- name: EventOldestDay :one
-- Today when nothing is stored.
SELECT coalesce((SELECT min(received_on) FROM inbox_event), (now() AT TIME ZONE 'UTC')::date)::date AS day;

-- name: EventDocument :one
-- How far the mirror of the event's document is.
SELECT want_seq, done_seq, state, failures, last_error, pending_since, next_attempt_at, dead_at
FROM entity_sync WHERE uid = @uid AND document_id = @document_id AND locale = @locale;

-- name: EventJobs :many
-- Jobs that serve the event and that River still has: finished ones go after some
-- minutes. A job serves it when its seq is not lower. River's index on args finds them.
SELECT id, state::text AS state, attempt, created_at, scheduled_at, attempted_at, finalized_at,
       (args->>'seq')::bigint AS seq, coalesce(to_jsonb(errors), '[]')::jsonb AS errors
FROM river.river_job
WHERE args @> jsonb_build_object('uid', @uid::text, 'document_id', @document_id::text)
  AND kind = 'mirror_sync' AND coalesce(args->>'locale', '') = @locale::text AND (args->>'seq')::bigint >= @seq::bigint
ORDER BY id
LIMIT @max_rows;

-- name: EventChange :one
-- The first change of the mirror by a sync that covered the event.
SELECT id, changed_at, seq, kind, before, after
FROM mirror_change
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND seq >= @seq
ORDER BY id
LIMIT 1;

-- name: EntityBehind :many
-- Documents that are dead letters, or that wait, with or without an event. The name is the mirrored row's.
SELECT s.uid, s.document_id, s.locale, s.failures, s.last_error, s.pending_since, s.next_attempt_at, s.dead_at,
       (s.events - s.events_done)::bigint AS events, coalesce(d.name, b.billing_id, '')::text AS name, count(*) OVER () AS total
FROM entity_sync s
LEFT JOIN deal d ON d.uid = s.uid AND d.document_id = s.document_id AND d.locale = s.locale
LEFT JOIN billing b ON b.uid = s.uid AND b.document_id = s.document_id AND b.locale = s.locale
WHERE s.done_seq < s.want_seq AND (s.state = 'dead') = @dead::boolean
ORDER BY s.pending_since NULLS FIRST, s.uid, s.document_id, s.locale
LIMIT @max_rows;

-- name: EntityWithoutEvent :one
SELECT count(*) FROM entity_sync s WHERE s.done_seq < s.want_seq AND (s.state = 'dead') = @dead::boolean AND s.events = s.events_done;

-- name: EventAside :one
-- Whether one of the newest events that were ignored or quarantined has the event's or the type's name. It reads no more
-- than the given number of them, through their own index.
SELECT EXISTS (
    SELECT FROM (SELECT event, model, uid FROM inbox_event WHERE seq IS NULL ORDER BY received_on DESC, id DESC LIMIT @max_rows) e
    WHERE (@event::text = '' OR e.event = @event) AND (@entity::text = '' OR e.model = @entity OR e.uid = @entity)) AS stored;

-- name: EntityTypes :many
-- The types of which documents are known, or that were to be compared with Strapi: loose
-- index scans.
WITH RECURSIVE known AS (
    (SELECT e.uid FROM entity_sync e ORDER BY e.uid LIMIT 1)
    UNION ALL
    SELECT (SELECT s.uid FROM entity_sync s WHERE s.uid > k.uid ORDER BY s.uid LIMIT 1) FROM known k WHERE k.uid IS NOT NULL
), compared AS (
    (SELECT t.uid FROM reconciliation_type t ORDER BY t.uid LIMIT 1)
    UNION ALL
    SELECT (SELECT n.uid FROM reconciliation_type n WHERE n.uid > c.uid ORDER BY n.uid LIMIT 1) FROM compared c WHERE c.uid IS NOT NULL
)
SELECT uid::text FROM (SELECT k.uid FROM known k UNION SELECT c.uid FROM compared c) u WHERE uid IS NOT NULL ORDER BY uid DESC;
