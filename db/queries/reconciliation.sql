-- name: ReconciliationRequest :one
-- Requests a run. One that waits already is enough; it takes over a permission to delete.
INSERT INTO reconciliation_run AS r (kind, trigger, actor, allow_deletes)
VALUES (@kind, @trigger, @actor, @allow_deletes)
ON CONFLICT (kind) WHERE status = 'waiting' DO UPDATE SET
    allow_deletes = r.allow_deletes OR excluded.allow_deletes,
    actor = CASE WHEN excluded.allow_deletes THEN excluded.actor ELSE r.actor END
RETURNING id;

-- name: ReconciliationAges :one
-- Decides whether a run is due. A run that failed is tried again after the short
-- interval, so try_age is of any outcome. Ages are in seconds, Infinity for never.
SELECT EXISTS (SELECT FROM reconciliation_run r WHERE r.status IN ('waiting', 'running')) AS has_open,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - max(r.finished_at)) FROM reconciliation_run r
                 WHERE r.finished_at IS NOT NULL), 'Infinity')::float8 AS try_age,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - max(r.finished_at)) FROM reconciliation_run r
                 WHERE r.kind = 'full' AND r.status = 'done'), 'Infinity')::float8 AS full_age;

-- name: ReconciliationClaim :one
-- Takes the run that is under way, if its runner's lease has ended, else the oldest one
-- that waits, a full one first. No row: there is none, or another runner has it. A delta
-- begins where a run before it began, by the clock that is behind: a Date in the future
-- would leave every delta empty until then.
UPDATE reconciliation_run r SET
    status = 'running', generation = r.generation + 1, holder = @holder::text,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::float8),
    started_at = coalesce(r.started_at, clock_timestamp()),
    baseline = CASE WHEN r.started_at IS NULL
                    THEN EXISTS (SELECT FROM reconciliation_run b WHERE b.kind = 'full' AND b.status = 'done')
                    ELSE r.baseline END,
    since = CASE WHEN r.started_at IS NULL AND r.kind = 'delta'
                 THEN (SELECT max(least(b.answered_at, b.started_at)) FROM reconciliation_run b
                       WHERE b.status = 'done' AND b.answered_at IS NOT NULL)
                      - make_interval(secs => @overlap_seconds::float8)
                 ELSE r.since END
WHERE r.id = (SELECT c.id FROM reconciliation_run c WHERE c.status IN ('running', 'waiting')
              ORDER BY c.status = 'running' DESC, c.kind = 'full' DESC, c.id LIMIT 1)
  AND (r.status = 'waiting' OR r.status = 'running' AND r.lease_until < clock_timestamp())
RETURNING *;

-- name: ReconciliationAdvance :execrows
-- Ends a step. 0 rows: another runner has taken over, so the step must not count.
UPDATE reconciliation_run SET
    stage = @stage, cursor = @cursor, answered_at = coalesce(answered_at, sqlc.narg(answered_at)),
    expected = expected + @expected, listed = listed + @listed, missing = missing + @missing, stale = stale + @stale,
    ghosts = ghosts + @ghosts, held = held + @held, enqueued = enqueued + @enqueued,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::float8)
WHERE id = @id AND status = 'running' AND generation = @generation;

-- name: ReconciliationEndLease :exec
-- The runner stops for now: another may continue at once.
UPDATE reconciliation_run SET lease_until = clock_timestamp() - interval '1 millisecond'
WHERE id = @id AND status = 'running' AND generation = @generation;

-- name: ReconciliationFinish :execrows
UPDATE reconciliation_run SET status = @status, error = sqlc.narg(error), finished_at = clock_timestamp()
WHERE id = @id AND status = 'running' AND generation = @generation;

-- name: ReconciliationGet :one
SELECT * FROM reconciliation_run WHERE id = @id;

-- name: ReconciliationDifferenceInsert :exec
-- A difference of a document whose sync is pending, or that failed, is no lost webhook.
INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, enqueued, lost)
SELECT @run_id, k.uid, k.document_id, k.locale, k.kind, true,
       CASE WHEN EXISTS (SELECT FROM entity_sync s WHERE s.uid = k.uid AND s.document_id = k.document_id
                         AND s.locale = k.locale AND s.done_seq < s.want_seq) THEN false END
FROM (SELECT unnest(@uids::text[]) AS uid, unnest(@document_ids::text[]) AS document_id,
             unnest(@locales::text[]) AS locale, unnest(@kinds::text[]) AS kind) k;

-- name: ReconciliationGhostInsert :execrows
-- The mirror's live documents between two documentIds that Strapi does not list. They are
-- refreshed when the whole list was read, so that a run which fails requests none. Both
-- bounds are plain comparisons, so that only this part of the primary key is read. The list
-- is of all locales. A document that it shows with a locale and the mirror has without one,
-- or the other way round, is no ghost: its key changed. Nor is one that a sync brought since
-- the step before this one, which set the lease: Strapi may have made it after it made the list.
INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, enqueued, lost)
SELECT @run_id, m.uid, m.document_id, m.locale, 'ghost', false,
       CASE WHEN NOT @baseline::boolean OR EXISTS (
           SELECT FROM entity_sync s WHERE s.uid = m.uid AND s.document_id = m.document_id
           AND s.locale = m.locale AND s.done_seq < s.want_seq) THEN false END
FROM (SELECT d.uid, d.document_id, d.locale FROM deal d WHERE d.uid = @uid AND d.deleted_at IS NULL
          AND d.document_id > @after::text AND d.document_id <= @upto::text
      UNION ALL
      SELECT b.uid, b.document_id, b.locale FROM billing b WHERE b.uid = @uid AND b.deleted_at IS NULL
          AND b.document_id > @after::text AND b.document_id <= @upto::text) m
WHERE NOT EXISTS (
    SELECT FROM (SELECT unnest(@listed::text[]) AS document_id, unnest(@listed_locales::text[]) AS locale) l
    WHERE l.document_id = m.document_id AND (l.locale = m.locale OR (l.locale = '') <> (m.locale = '')))
  AND NOT EXISTS (
    SELECT FROM mirror_change c JOIN reconciliation_run r ON r.id = @run_id
    WHERE c.uid = m.uid AND c.document_id = m.document_id AND c.locale = m.locale AND c.kind IN ('created', 'revived')
      AND c.changed_at > r.lease_until - make_interval(secs => @lease_seconds::float8));

-- name: ReconciliationGhostCount :one
-- Ghosts of a type in this run: all that wait, those that no verified entry.delete names,
-- and whether some were handed on already.
SELECT count(*) FILTER (WHERE NOT g.enqueued) AS waiting,
       count(*) FILTER (WHERE NOT g.enqueued AND NOT EXISTS (
           SELECT FROM inbox_event e WHERE e.uid = g.uid AND e.document_id = g.document_id
           AND e.locale = g.locale AND e.seq IS NOT NULL AND e.event = 'entry.delete')) AS unverified,
       coalesce(bool_or(g.enqueued), false)::boolean AS begun,
       (coalesce((array_agg(g.document_id ORDER BY g.id))[1:5], '{}'))::text[] AS examples
FROM reconciliation_difference g WHERE g.run_id = @run_id AND g.uid = @uid AND g.kind = 'ghost';

-- name: ReconciliationGhostTake :many
-- The next ghosts to refresh. The caller requests that in the same transaction.
UPDATE reconciliation_difference SET enqueued = true
WHERE id IN (SELECT g.id FROM reconciliation_difference g
             WHERE g.run_id = @run_id AND g.uid = @uid AND g.kind = 'ghost' AND NOT g.enqueued
             ORDER BY g.id LIMIT @max_rows)
RETURNING document_id, locale;

-- name: ReconciliationDecideLost :many
-- Decides about differences that are a minute old: where no event of the document came,
-- its webhook was lost. An event shortly before counts
-- too, because the list may have been read before it and compared after it. So does one of
-- another locale: what the locales of a document share changes in all of them, and Strapi
-- sends a webhook for one.
WITH decided AS (
    UPDATE reconciliation_difference d SET lost = NOT EXISTS (
        SELECT FROM inbox_event e
        WHERE e.uid = d.uid AND e.document_id = d.document_id AND e.seq IS NOT NULL
          AND e.received_on >= (d.found_at AT TIME ZONE 'UTC')::date - 1
          AND e.received_at > d.found_at - interval '90 seconds')
    WHERE d.lost IS NULL AND d.found_at < clock_timestamp() - interval '60 seconds'
    RETURNING d.run_id, d.uid, d.document_id, d.lost
), counted AS (
    UPDATE reconciliation_run r SET lost_webhooks = r.lost_webhooks + n.lost
    FROM (SELECT run_id, count(*) AS lost FROM decided WHERE lost GROUP BY run_id) n
    WHERE r.id = n.run_id
)
SELECT uid, document_id FROM decided WHERE lost ORDER BY uid, document_id;

-- name: ReconciliationLostSinceFull :one
-- Lost webhooks since the last full run began whose differences are all decided; -1 when
-- there is none.
SELECT coalesce((SELECT (SELECT count(*) FROM reconciliation_difference d WHERE d.lost AND d.found_at >= f.started_at)
                 FROM reconciliation_run f
                 WHERE f.kind = 'full' AND f.status = 'done' AND f.finished_at < clock_timestamp() - interval '60 seconds'
                   AND NOT EXISTS (SELECT FROM reconciliation_difference o WHERE o.run_id = f.id AND o.lost IS NULL)
                 ORDER BY f.finished_at DESC LIMIT 1), -1)::bigint AS lost;

-- name: ReconciliationState :one
-- For the health page. drift: differences that the last full run found, 0 when Dealbox was
-- new then; -1 when there was none. idle: since the last of the latest runs ended or its
-- runner was alive; 0 when there was none.
SELECT l.last_run_at, f.last_full_run_at, coalesce(f.drift, -1)::bigint AS drift,
       (SELECT count(*) FROM reconciliation_difference d WHERE d.lost AND d.found_at > now() - interval '24 hours') AS lost_24h,
       EXISTS (SELECT FROM alert a WHERE a.rule = @failing_rule AND a.resolved_at IS NULL) AS failing,
       EXISTS (SELECT FROM deletion_guard g WHERE g.tripped_at IS NOT NULL) AS guard_tripped,
       coalesce((SELECT greatest(extract(epoch FROM now() - max(greatest(r.finished_at, r.lease_until))), 0)
                 FROM (SELECT r.finished_at, r.lease_until FROM reconciliation_run r ORDER BY r.id DESC LIMIT 10) r), 0)::double precision AS idle_seconds
FROM (SELECT 1) one
LEFT JOIN LATERAL (SELECT r.finished_at AS last_run_at FROM reconciliation_run r WHERE r.status = 'done'
                   ORDER BY r.finished_at DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (SELECT r.finished_at AS last_full_run_at, CASE WHEN r.baseline THEN r.missing + r.stale + r.ghosts ELSE 0 END AS drift
                   FROM reconciliation_run r WHERE r.kind = 'full' AND r.status = 'done'
                   ORDER BY r.finished_at DESC LIMIT 1) f ON true;

-- name: ReconciliationDeals :many
-- The mirror's live rows of the given documents, in the columns of DealUpsert.
SELECT uid, document_id, locale, strapi_id, deal_id, name, deal_value, currency, status, stage,
       probability, confidence_override, expected_close_date, recognition_start_month, recognition_end_month, owner,
       strapi_created_at, strapi_updated_at, published_at
FROM deal WHERE uid = @uid AND document_id = ANY (@document_ids::text[]) AND deleted_at IS NULL;

-- name: ReconciliationBillings :many
-- The same in the columns of BillingUpsert.
SELECT uid, document_id, locale, strapi_id, billing_id, deal_uid, deal_document_id, amount, currency,
       status, invoice_date, collected_date, recognition_month, strapi_created_at, strapi_updated_at, published_at
FROM billing WHERE uid = @uid AND document_id = ANY (@document_ids::text[]) AND deleted_at IS NULL;

-- name: EntityDead :many
-- Which of the documents are dead letters, and since when.
SELECT document_id, locale, dead_at FROM entity_sync
WHERE uid = @uid AND document_id = ANY (@document_ids::text[]) AND state = 'dead';

-- name: EntityOrphans :many
-- Documents that wait for long and whose job is gone: River's rescuer can discard one.
SELECT s.uid, s.document_id, s.locale, s.want_seq FROM entity_sync s
WHERE s.done_seq < s.want_seq AND s.state = 'pending' AND s.pending_since < now() - interval '2 minutes'
  AND NOT EXISTS (
      SELECT FROM river.river_job j
      WHERE j.kind = 'mirror_sync' AND j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
        AND j.args->>'uid' = s.uid AND j.args->>'document_id' = s.document_id
        AND coalesce(j.args->>'locale', '') = s.locale AND (j.args->>'seq')::bigint = s.want_seq)
ORDER BY s.pending_since LIMIT 1000;

-- name: GuardLock :one
-- Makes the row if it is missing, and locks it: deletions of one type are counted one by one.
INSERT INTO deletion_guard AS g (uid) VALUES (@uid)
ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid
RETURNING (tripped_at IS NOT NULL)::boolean AS tripped, coalesce(allow_until > clock_timestamp(), false)::boolean AS allowed;

-- name: GuardCount :one
-- Deletions of the last hour that count toward the limit, and what is alive.
SELECT (SELECT count(*) FROM mirror_change c WHERE c.uid = @uid AND c.counted
          AND c.changed_at > clock_timestamp() - interval '1 hour') AS counted,
       ((SELECT count(*) FROM deal d WHERE d.uid = @uid AND d.deleted_at IS NULL)
        + (SELECT count(*) FROM billing b WHERE b.uid = @uid AND b.deleted_at IS NULL))::bigint AS live;

-- name: GuardVerified :one
-- Whether a verified entry.delete names the document.
SELECT EXISTS (SELECT FROM inbox_event WHERE uid = @uid AND document_id = @document_id AND locale = @locale
               AND event = 'entry.delete' AND seq <= @want_seq) AS verified;

-- name: GuardTrip :execrows
-- 1 when this is what tripped it.
INSERT INTO deletion_guard AS g (uid, tripped_at) VALUES (@uid, clock_timestamp())
ON CONFLICT (uid) DO UPDATE SET tripped_at = clock_timestamp() WHERE g.tripped_at IS NULL;

-- name: GuardReset :execrows
UPDATE deletion_guard SET tripped_at = NULL WHERE uid = @uid AND tripped_at IS NOT NULL;

-- name: GuardAllow :exec
INSERT INTO deletion_guard AS g (uid, allow_until, allowed_by)
VALUES (@uid, clock_timestamp() + make_interval(secs => @allow_seconds::float8), @allowed_by)
ON CONFLICT (uid) DO UPDATE SET tripped_at = NULL, allow_until = excluded.allow_until, allowed_by = excluded.allowed_by;

-- name: EntityHoldBack :exec
-- The guard holds the deletion back: the attempt does not count and the refresh stays requested.
UPDATE entity_sync SET
    failures = greatest(failures - 1, 0), attempt_expires_at = NULL, last_error = @last_error::text,
    held_back_since = coalesce(held_back_since, now()), next_attempt_at = now() + make_interval(secs => @wait_seconds::float8)
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND version = @version AND done_seq < want_seq;

-- name: EntityRetryHeldBack :exec
-- Makes due what the guard holds back.
UPDATE entity_sync SET next_attempt_at = NULL
WHERE uid = @uid AND done_seq < want_seq AND state = 'pending' AND held_back_since IS NOT NULL;
