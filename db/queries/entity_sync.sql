-- name: EntityBump :many
-- Requests a refresh of each document. Takes the row locks in key order.
-- A dead document is revived; one that waits after a failure is tried again soon.
INSERT INTO entity_sync AS e (uid, document_id, locale, want_seq, events, state, pending_since)
SELECT k.uid, k.document_id, k.locale, 1, k.events, 'pending', now()
FROM (SELECT unnest(@uids::text[]) AS uid, unnest(@document_ids::text[]) AS document_id,
             unnest(@locales::text[]) AS locale, unnest(@events::bigint[]) AS events) k
ORDER BY k.uid COLLATE "C", k.document_id COLLATE "C", k.locale COLLATE "C"
ON CONFLICT (uid, document_id, locale) DO UPDATE SET
    want_seq = e.want_seq + 1,
    events = e.events + excluded.events,
    state = 'pending',
    failures = CASE WHEN e.state = 'dead' THEN 0 ELSE e.failures END,
    next_attempt_at = CASE WHEN e.state = 'dead' OR e.next_attempt_at IS NULL THEN NULL
                           ELSE least(e.next_attempt_at, now() + interval '10 seconds') END,
    pending_since = CASE WHEN e.state = 'pending' THEN e.pending_since ELSE now() END,
    dead_at = NULL
RETURNING e.uid, e.document_id, e.locale, e.want_seq;

-- name: EntityUncount :exec
-- Takes back events that turned out to be duplicates. The caller holds the row's lock.
UPDATE entity_sync AS e SET events = e.events - k.events
FROM (SELECT unnest(@uids::text[]) AS uid, unnest(@document_ids::text[]) AS document_id,
             unnest(@locales::text[]) AS locale, unnest(@events::bigint[]) AS events) k
WHERE e.uid = k.uid AND e.document_id = k.document_id AND e.locale = k.locale;

-- name: EntityLock :exec
-- Takes the locks of several documents in key order, making rows that are missing,
-- so that a transaction that goes on to bump them cannot deadlock with ingest.
INSERT INTO entity_sync AS e (uid, document_id, locale)
SELECT k.uid, k.document_id, k.locale
FROM (SELECT unnest(@uids::text[]) AS uid, unnest(@document_ids::text[]) AS document_id,
             unnest(@locales::text[]) AS locale) k
ORDER BY k.uid COLLATE "C", k.document_id COLLATE "C", k.locale COLLATE "C"
ON CONFLICT (uid, document_id, locale) DO UPDATE SET version = e.version;

-- name: EntityOfDocument :many
-- The locales in which a document is known.
SELECT locale FROM entity_sync WHERE uid = @uid AND document_id = @document_id ORDER BY locale;

-- name: EntityNamed :many
-- The keys of types under which documents are known.
SELECT uid, document_id, locale FROM entity_sync
WHERE uid = ANY (@uids::text[]) AND document_id = ANY (@document_ids::text[]) ORDER BY uid, document_id, locale;

-- name: EntityProgress :one
-- How far the refresh of a document is, for whoever waits for it. It is held when the guard has
-- held it back since: a request makes due what waits.
SELECT (done_seq >= @seq::bigint)::boolean AS done, state, failures, last_error,
       coalesce(attempt_expires_at > now(), false)::boolean AS is_running,
       (held_back_since IS NOT NULL AND next_attempt_at > now() + interval '1 minute')::boolean AS held
FROM entity_sync WHERE uid = @uid AND document_id = @document_id AND locale = @locale;

-- name: EntityBegin :one
-- Step 1 of a sync: reads what is wanted, the version and the breaker's row together,
-- and counts the attempt unless there is a reason not to start. An attempt that is
-- still running elsewhere is not counted twice.
WITH b AS (
    SELECT state, retry_at, failure_count, generation FROM circuit_breaker WHERE name = @breaker
), begun AS (
    UPDATE entity_sync AS s SET
        failures = s.failures + CASE WHEN s.attempt_expires_at > now() THEN 0 ELSE 1 END,
        attempt_expires_at = now() + make_interval(secs => @attempt_seconds::float8)
    FROM b
    WHERE s.uid = @uid AND s.document_id = @document_id AND s.locale = @locale
      AND s.done_seq < @seq AND s.state <> 'dead' AND b.state = 'closed' AND NOT @paused::boolean
      AND (s.next_attempt_at IS NULL OR s.next_attempt_at <= now())
    RETURNING s.want_seq, s.events, s.version, s.failures
)
SELECT coalesce(begun.want_seq, e.want_seq)::bigint AS want_seq,
       coalesce(begun.events, e.events)::bigint AS events,
       coalesce(begun.version, e.version)::bigint AS version,
       coalesce(begun.failures, e.failures)::integer AS failures,
       (begun.version IS NOT NULL)::boolean AS begun,
       e.done_seq, e.state, e.last_error, e.next_attempt_at, e.unreadable, e.deletion_allowed_seq,
       now()::timestamptz AS begun_at,
       b.state AS breaker_state, b.retry_at AS breaker_retry_at,
       b.failure_count AS breaker_failure_count, b.generation AS breaker_generation
FROM entity_sync e CROSS JOIN b LEFT JOIN begun ON true
WHERE e.uid = @uid AND e.document_id = @document_id AND e.locale = @locale;

-- name: EntityDone :one
-- Step 3, the compare-and-set: no row means that another sync was faster. Strapi has
-- just answered, so the count of the breaker is read, too: it ends a run of failures.
UPDATE entity_sync SET
    version = version + 1,
    done_seq = greatest(done_seq, @want_seq),
    events_done = greatest(events_done, @events),
    state = CASE WHEN want_seq > greatest(done_seq, @want_seq) THEN 'pending' ELSE 'ok' END,
    pending_since = CASE WHEN want_seq > greatest(done_seq, @want_seq) THEN @begun_at::timestamptz END,
    failures = 0, last_error = NULL, attempt_expires_at = NULL, next_attempt_at = NULL, held_back_since = NULL, dead_at = NULL,
    unreadable = sqlc.narg(unreadable)
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND version = @version
RETURNING (SELECT b.failure_count FROM circuit_breaker b WHERE b.name = @breaker)::integer AS breaker_failures;

-- name: EntityFailed :one
-- The attempt failed because of this document. At the limit it becomes dead, but not
-- when another refresh was requested since: that one has its own job, comes soon, and
-- has an attempt left, because no attempt has covered it yet.
UPDATE entity_sync SET
    last_error = @last_error,
    attempt_expires_at = NULL,
    held_back_since = NULL,
    next_attempt_at = now() + make_interval(secs => CASE WHEN want_seq > @want_seq
        THEN least(@delay_seconds::float8, 10) ELSE @delay_seconds::float8 END),
    failures = CASE WHEN want_seq > @want_seq THEN least(failures + 1, @max_failures) - 1 ELSE failures END,
    state = CASE WHEN failures >= @max_failures AND want_seq = @want_seq THEN 'dead' ELSE state END,
    dead_at = CASE WHEN failures >= @max_failures AND want_seq = @want_seq THEN now() END
WHERE uid = @uid AND document_id = @document_id AND locale = @locale
  AND version = @version AND done_seq < want_seq AND state <> 'dead'
RETURNING want_seq, failures, state, events - events_done AS open_events;

-- name: EntityCancelAttempt :exec
-- The attempt learned nothing about this document: it does not count.
UPDATE entity_sync SET
    failures = greatest(failures - 1, 0),
    attempt_expires_at = NULL
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND version = @version
  AND attempt_expires_at IS NOT NULL;

-- name: EntityPeers :many
-- A few other documents of the type, which are published as far as is known: those
-- that were well at their last sync first, then those that failed least. It reads at
-- most 400 rows around the given one.
SELECT e.document_id, e.locale FROM (
    (SELECT a.* FROM entity_sync a WHERE a.uid = @uid AND a.document_id > @document_id ORDER BY a.document_id LIMIT 200)
    UNION ALL
    (SELECT a.* FROM entity_sync a WHERE a.uid = @uid AND a.document_id < @document_id ORDER BY a.document_id DESC LIMIT 200)
) e
WHERE e.state <> 'dead'
  AND NOT EXISTS (SELECT FROM deal d WHERE d.uid = e.uid AND d.document_id = e.document_id AND d.locale = e.locale
                    AND (d.deleted_at IS NOT NULL OR d.published_at IS NULL))
  AND NOT EXISTS (SELECT FROM billing b WHERE b.uid = e.uid AND b.document_id = e.document_id AND b.locale = e.locale
                    AND (b.deleted_at IS NOT NULL OR b.published_at IS NULL))
ORDER BY (e.state = 'ok') DESC, e.failures, (e.document_id > @document_id) DESC, e.document_id, e.locale
LIMIT @max_rows;

-- name: EntityWake :execrows
-- Makes the snoozed jobs of a type due, oldest first, but for those whose document
-- waits after a failure of its own. It can be repeated until it returns 0.
UPDATE river.river_job SET state = 'available', scheduled_at = now()
WHERE id IN (
    SELECT j.id FROM river.river_job j
    LEFT JOIN entity_sync s ON s.uid = j.args->>'uid' AND s.document_id = j.args->>'document_id'
                           AND s.locale = coalesce(j.args->>'locale', '')
    WHERE j.kind = 'mirror_sync' AND j.state = 'scheduled' AND j.args->>'uid' = @uid::text
      AND j.scheduled_at > now() + interval '1 second'
      AND (s.next_attempt_at IS NULL OR s.next_attempt_at <= now()) AND s.held_back_since IS NULL
    ORDER BY j.id LIMIT @max_rows
    FOR UPDATE OF j SKIP LOCKED);
