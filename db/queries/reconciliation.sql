-- name: ReconciliationRequest :one
-- Requests a run. One that waits already is enough; it takes over an operator's trigger, and
-- the types and the time that either of the two wants. A permission to delete stays with the
-- types of the request that had it.
INSERT INTO reconciliation_run AS r (kind, trigger, actor, allow_deletes, allow_types, types, since)
VALUES (@kind, @trigger, @actor, @allow_deletes, sqlc.narg(allow_types)::text[], sqlc.narg(types)::text[], sqlc.narg(since))
ON CONFLICT (kind) WHERE status = 'waiting' DO UPDATE SET
    allow_deletes = r.allow_deletes OR excluded.allow_deletes,
    allow_types = CASE WHEN NOT excluded.allow_deletes THEN r.allow_types WHEN NOT r.allow_deletes THEN excluded.allow_types
                       WHEN r.allow_types IS NOT NULL AND excluded.allow_types IS NOT NULL THEN r.allow_types || excluded.allow_types END,
    actor = CASE WHEN excluded.allow_deletes OR excluded.trigger = 'demand' AND r.trigger <> 'demand' THEN excluded.actor ELSE r.actor END,
    trigger = CASE WHEN excluded.trigger = 'demand' THEN excluded.trigger ELSE r.trigger END,
    types = CASE WHEN r.types IS NOT NULL AND excluded.types IS NOT NULL
                 THEN ARRAY(SELECT DISTINCT t.uid FROM unnest(r.types || excluded.types) t (uid) ORDER BY t.uid) END,
    since = least(r.since, excluded.since)
RETURNING id, (xmax = 0)::boolean AS is_new;

-- name: ReconciliationAges :one
-- Decides whether a run is due. A run that failed is tried again after the short
-- interval, so try_age is of any outcome. Ages are in seconds, Infinity for never. A type
-- that failed in a full run is compared in full again by the deltas that follow. A run of
-- some types stands for none of the others, so it does not count.
SELECT EXISTS (SELECT FROM reconciliation_run r WHERE r.status IN ('waiting', 'running') AND r.types IS NULL) AS has_open,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - max(r.finished_at)) FROM reconciliation_run r
                 WHERE r.finished_at IS NOT NULL AND r.types IS NULL), 'Infinity')::float8 AS try_age,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - max(r.finished_at)) FROM reconciliation_run r
                 WHERE r.kind = 'full' AND r.status IN ('done', 'partial') AND r.types IS NULL), 'Infinity')::float8 AS full_age;

-- name: ReconciliationClaim :one
-- Takes the run that is under way, if its runner's lease has ended, else the oldest one
-- that waits, a full one of all types first. No row: there is none, or another runner has it.
UPDATE reconciliation_run r SET
    status = 'running', generation = r.generation + 1, holder = @holder::text,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::float8),
    started_at = coalesce(r.started_at, clock_timestamp()),
    baseline = CASE WHEN r.started_at IS NULL
                    THEN EXISTS (SELECT FROM reconciliation_run b WHERE b.kind = 'full' AND b.status IN ('done', 'partial'))
                    ELSE r.baseline END
WHERE r.id = (SELECT c.id FROM reconciliation_run c WHERE c.status IN ('running', 'waiting')
              ORDER BY c.status = 'running' DESC, (c.kind = 'full' AND c.types IS NULL) DESC, c.id LIMIT 1)
  AND (r.status = 'waiting' OR r.status = 'running' AND r.lease_until < clock_timestamp())
RETURNING *;

-- name: ReconciliationTypeInsert :exec
-- Makes the rows of a run's types, once. A delta of a type begins where its last comparison
-- that was done began, by the clock that is behind: a Date in the future would leave every
-- delta empty until then. An operator can have it begin earlier, and not later: the next delta
-- begins here. A type whose last full comparison failed is compared in full.
INSERT INTO reconciliation_type (run_id, uid, plural, position, kind, baseline, since)
SELECT r.id, k.uid, k.plural, k.position - 1,
       CASE WHEN r.kind = 'full' OR coalesce(f.status, 'failed') = 'failed' THEN 'full' ELSE 'delta' END,
       EXISTS (SELECT FROM reconciliation_type b WHERE b.uid = k.uid AND b.kind = 'full' AND b.status = 'done'),
       CASE WHEN r.kind = 'delta' AND f.status = 'done' AND d.mark IS NOT NULL
            THEN least(d.mark - make_interval(secs => @overlap_seconds::float8), r.since) END
FROM (SELECT unnest(@uids::text[]) AS uid, unnest(@plurals::text[]) AS plural,
             generate_series(1, cardinality(@uids::text[])) AS position) k
JOIN reconciliation_run r ON r.id = @run_id
LEFT JOIN LATERAL (SELECT p.status FROM reconciliation_type p
                   WHERE p.uid = k.uid AND p.kind = 'full' AND p.status <> 'waiting'
                   ORDER BY p.run_id DESC LIMIT 1) f ON true
LEFT JOIN LATERAL (SELECT least(p.answered_at, p.started_at) AS mark FROM reconciliation_type p
                   WHERE p.uid = k.uid AND p.status = 'done' AND p.answered_at IS NOT NULL
                   ORDER BY p.run_id DESC LIMIT 1) d ON true
WHERE r.types IS NULL OR k.uid = ANY (r.types)
ON CONFLICT DO NOTHING;

-- name: ReconciliationTypes :many
SELECT * FROM reconciliation_type WHERE run_id = @run_id ORDER BY position;

-- name: ReconciliationStagedClear :exec
-- Deletes what runs left that were not worked to their end: only one works at a time.
DELETE FROM reconciliation_staged WHERE run_id <> @run_id;

-- name: ReconciliationAdvance :execrows
-- Ends a step. 0 rows: another runner has taken over, so the step must not count.
UPDATE reconciliation_run SET
    stage = @stage, cursor = @cursor,
    expected = expected + @expected, listed = listed + @listed, odd = odd + @odd, missing = missing + @missing, stale = stale + @stale,
    ghosts = ghosts + @ghosts, held = held + @held, held_nulls = held_nulls + @held_nulls, enqueued = enqueued + @enqueued,
    dead = dead + @dead, dead_retried = dead_retried + @dead_retried,
    lease_until = clock_timestamp() + make_interval(secs => @lease_seconds::float8)
WHERE id = @id AND status = 'running' AND generation = @generation;

-- name: ReconciliationTypeListed :exec
-- Adds a page to its type. The type started when the step before its first page ended, which
-- set the lease: Strapi made the list later.
UPDATE reconciliation_type t SET
    started_at = coalesce(t.started_at, r.lease_until - make_interval(secs => @lease_seconds::float8)),
    answered_at = coalesce(t.answered_at, sqlc.narg(answered_at)),
    published_upto = greatest(t.published_upto, @published_upto),
    listed = t.listed + @listed, odd = t.odd + cardinality(@odd_rows::bigint[]),
    odd_rows = (t.odd_rows || @odd_rows::bigint[])[1:20], odd_reason = coalesce(t.odd_reason, sqlc.narg(odd_reason))
FROM reconciliation_run r
WHERE r.id = t.run_id AND t.run_id = @run_id AND t.uid = @uid;

-- name: ReconciliationTypeFinish :execrows
-- Ends the comparison of a type, and deletes what was staged of it.
WITH gone AS (DELETE FROM reconciliation_staged s WHERE s.run_id = @run_id AND s.uid = @uid)
UPDATE reconciliation_type t SET status = @status, error = sqlc.narg(error), finished_at = clock_timestamp()
WHERE t.run_id = @run_id AND t.uid = @uid AND t.status = 'waiting';

-- name: ReconciliationEndLease :exec
-- The runner stops for now: another may continue at once.
UPDATE reconciliation_run SET lease_until = clock_timestamp() - interval '1 millisecond'
WHERE id = @id AND status = 'running' AND generation = @generation;

-- name: ReconciliationTypesFail :many
-- Fails the types that a run did not come to. Returns their names.
UPDATE reconciliation_type SET status = 'failed', error = @error::text, finished_at = clock_timestamp()
WHERE run_id = @run_id AND status = 'waiting'
RETURNING plural;

-- name: ReconciliationFinish :one
-- Ends a run as its types ended. No row: another runner has taken over.
UPDATE reconciliation_run r SET
    status = CASE WHEN n.failed = 0 AND sqlc.narg(error)::text IS NULL THEN 'done' WHEN n.done > 0 THEN 'partial' ELSE 'failed' END,
    error = coalesce(n.errors, sqlc.narg(error)::text), finished_at = clock_timestamp()
FROM (SELECT count(*) FILTER (WHERE t.status = 'failed') AS failed, count(*) FILTER (WHERE t.status = 'done') AS done,
             string_agg(t.plural || ': ' || t.error, '; ' ORDER BY t.position) AS errors
      FROM reconciliation_type t WHERE t.run_id = @id) n
WHERE r.id = @id AND r.status = 'running' AND r.generation = @generation
RETURNING r.status;

-- name: ReconciliationGet :one
SELECT * FROM reconciliation_run WHERE id = @id;

-- name: ReconciliationStage :many
-- Keeps a page. A document that Dealbox does not know at all is marked where @request says
-- so, for the caller to request its refresh at once. LIMIT 1, because Postgres would read all
-- that is staged once a page to answer EXISTS.
INSERT INTO reconciliation_staged (run_id, uid, document_id, locale, version, row_id, repeated, requested, attributes)
SELECT @run_id, @uid, k.document_id, k.locale, @version, k.row_id,
       row_number() OVER (PARTITION BY k.document_id, k.locale ORDER BY k.row_id) > 1
           OR coalesce((SELECT true FROM reconciliation_staged o WHERE o.run_id = @run_id AND o.uid = @uid
               AND o.document_id = k.document_id AND o.locale = k.locale LIMIT 1), false),
       @request::boolean AND coalesce((SELECT false FROM entity_sync e WHERE e.uid = @uid
               AND e.document_id = k.document_id AND e.locale = k.locale LIMIT 1), true),
       nullif(k.attributes, '')::jsonb
FROM (SELECT unnest(@document_ids::text[]) AS document_id, unnest(@locales::text[]) AS locale,
             unnest(@row_ids::bigint[]) AS row_id, unnest(@attributes::text[]) AS attributes) k
ON CONFLICT DO NOTHING
RETURNING document_id, locale, repeated, requested;

-- name: ReconciliationChunkEnd :one
-- The documentId with which the next part of a comparison ends; empty when it is the last one.
SELECT coalesce((SELECT s.document_id FROM reconciliation_staged s
                 WHERE s.run_id = @run_id AND s.uid = @uid AND s.document_id > @after::text
                 ORDER BY s.document_id OFFSET @size LIMIT 1), '')::text AS upto;

-- name: ReconciliationCompare :one
-- Window functions and not joins of the staged rows with themselves: the table grows and
-- shrinks too fast for statistics, and Postgres would join it as if it had one row.
-- Finds the documents between two documentIds that Strapi listed otherwise than the mirror
-- has them. The published version counts; where there is none, the draft. A document with
-- several rows in one version is one: if it was published while the list was read (@began),
-- the newest row counts. Else it is published twice, and the mirror may equal either, because
-- which one Strapi answers for the document is Strapi's to say, and not in its documentation.
-- In a delta a draft says nothing about its published version, which may be older.
-- Left out is what a sync has written that began after the row was listed (an attempt takes
-- @attempt_seconds at most), and a dead letter that nobody has corrected since: it would only
-- fail again. Its updatedAt counts from @dead_slack_seconds before its death: a correction can
-- fall into the last attempt, and Strapi's clock can be behind.
WITH candidate AS (
    SELECT w.document_id, w.locale, w.version, w.row_id, w.staged_at, w.attributes,
           (w.attributes->>'strapi_updated_at')::timestamptz AS updated_at
    FROM (SELECT s.*, bool_or(s.requested) OVER document AS was_requested,
                 bool_or(s.version = 'published') OVER document AS has_published,
                 bool_or((s.attributes->>'published_at')::timestamptz >= @began::timestamptz)
                     OVER (PARTITION BY s.document_id, s.locale, s.version ORDER BY s.row_id
                           ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS replaced
          FROM reconciliation_staged s
          WHERE s.run_id = @run_id AND s.uid = @uid AND s.document_id > @after::text AND s.document_id <= @upto::text
          WINDOW document AS (PARTITION BY s.document_id, s.locale)) w
    WHERE NOT w.was_requested AND w.has_published = (w.version = 'published') AND w.replaced IS NOT TRUE
), compared AS (
    SELECT DISTINCT ON (c.document_id, c.locale) c.*, d.uid AS deal, b.uid AS billing,
           coalesce(d.strapi_updated_at, b.strapi_updated_at) AS before_updated_at,
           coalesce(d.published_at, b.published_at) AS before_published_at,
           CASE WHEN d.uid IS NULL AND b.uid IS NULL THEN false
                WHEN @is_delta::boolean AND c.version = 'draft' AND coalesce(d.published_at, b.published_at) IS NOT NULL THEN true
                WHEN c.attributes IS NULL THEN false
                WHEN d.uid IS NOT NULL THEN jsonb_populate_record(d, c.attributes) IS NOT DISTINCT FROM d
                ELSE jsonb_populate_record(b, c.attributes) IS NOT DISTINCT FROM b END AS same
    FROM candidate c
    LEFT JOIN deal d ON d.uid = @uid AND d.document_id = c.document_id AND d.locale = c.locale AND d.deleted_at IS NULL
    LEFT JOIN billing b ON b.uid = @uid AND b.document_id = c.document_id AND b.locale = c.locale AND b.deleted_at IS NULL
    ORDER BY c.document_id, c.locale, same DESC, c.row_id
), differing AS (
    SELECT x.*, coalesce(e.done_seq < e.want_seq, false) AS waits, changed.changed_at,
           coalesce((SELECT to_jsonb(d) FROM deal d WHERE d.uid = x.deal AND d.document_id = x.document_id AND d.locale = x.locale),
                    (SELECT to_jsonb(b) FROM billing b WHERE b.uid = x.billing AND b.document_id = x.document_id AND b.locale = x.locale)) AS before,
           coalesce((SELECT to_jsonb(jsonb_populate_record(d, x.attributes)) FROM deal d
                     WHERE d.uid = x.deal AND d.document_id = x.document_id AND d.locale = x.locale),
                    (SELECT to_jsonb(jsonb_populate_record(b, x.attributes)) FROM billing b
                     WHERE b.uid = x.billing AND b.document_id = x.document_id AND b.locale = x.locale)) AS after
    FROM compared x
    LEFT JOIN entity_sync e ON e.uid = @uid AND e.document_id = x.document_id AND e.locale = x.locale
    LEFT JOIN LATERAL (SELECT max(c.changed_at) AS changed_at FROM mirror_change c
                       WHERE c.uid = @uid AND c.document_id = x.document_id AND c.locale = x.locale) changed ON true
    WHERE NOT x.same
      AND coalesce(changed.changed_at <= x.staged_at + make_interval(secs => @attempt_seconds::float8), true)
      AND NOT (coalesce(e.state, '') = 'dead'
               AND coalesce(e.dead_at IS NOT NULL AND x.updated_at + make_interval(secs => @dead_slack_seconds::float8) <= e.dead_at, true))
), explained AS (
    SELECT f.*, CASE WHEN f.before IS NULL THEN 'missing' ELSE 'stale' END AS kind,
           ARRAY(SELECT a.key FROM jsonb_each(f.after) a WHERE a.value IS DISTINCT FROM f.before->a.key ORDER BY a.key) AS columns,
           ARRAY(SELECT k.name FROM unnest(@essential::text[]) k (name)
                 WHERE f.before->>k.name <> '' AND f.before->k.name <> '0' AND (coalesce(f.after->>k.name, '') = '' OR f.after->k.name = '0')
                 ORDER BY k.name) AS emptied,
           CASE WHEN f.changed_at > f.staged_at THEN 'meanwhile'
                WHEN f.before IS NULL AND (
                    EXISTS (SELECT FROM deal d WHERE d.uid = @uid AND d.document_id = f.document_id
                            AND (d.locale = '') <> (f.locale = '') AND d.deleted_at IS NULL)
                    OR EXISTS (SELECT FROM billing b WHERE b.uid = @uid AND b.document_id = f.document_id
                               AND (b.locale = '') <> (f.locale = '') AND b.deleted_at IS NULL)) THEN 'schema'
                WHEN f.updated_at < f.before_updated_at - interval '1 second' THEN 'restored'
                WHEN f.before IS NOT NULL AND f.updated_at = f.before_updated_at AND f.version = 'published'
                     AND (f.attributes->>'published_at')::timestamptz = f.before_published_at THEN 'silent'
                WHEN f.before IS NOT NULL AND f.updated_at = f.before_updated_at AND f.version = 'draft'
                     AND f.before_published_at IS NULL THEN 'silent'
                ELSE 'change' END AS cause
    FROM differing f
), kept AS (
    INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, listed_at, enqueued, lost, cause, columns, emptied)
    SELECT @run_id, @uid, e.document_id, e.locale, e.kind, e.staged_at, false,
           CASE WHEN NOT @baseline::boolean OR e.waits OR e.cause <> 'change' THEN false END, e.cause, e.columns, e.emptied
    FROM explained e ORDER BY e.document_id, e.locale
    RETURNING kind
)
SELECT count(*) FILTER (WHERE kind = 'missing') AS missing, count(*) FILTER (WHERE kind = 'stale') AS stale FROM kept;

-- name: ReconciliationStrays :execrows
-- Rows of the mirror from before their type got locales, or from when it still had them:
-- Strapi lists their documents under keys of the other sort. A refresh makes such a row a
-- tombstone. Nothing vanished, so the deletion guard has no part in it.
INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, listed_at, enqueued, lost, cause)
SELECT @run_id, @uid, m.document_id, m.locale, 'stale', min(s.staged_at), false, false, 'schema'
FROM reconciliation_staged s
JOIN LATERAL (SELECT d.document_id, d.locale FROM deal d WHERE d.uid = @uid AND d.document_id = s.document_id AND d.deleted_at IS NULL
              UNION ALL
              SELECT b.document_id, b.locale FROM billing b WHERE b.uid = @uid AND b.document_id = s.document_id AND b.deleted_at IS NULL) m
     ON (m.locale = '') <> (s.locale = '')
WHERE s.run_id = @run_id AND s.uid = @uid AND s.document_id > @after::text AND s.document_id <= @upto::text
  AND NOT EXISTS (SELECT FROM reconciliation_staged o WHERE o.run_id = @run_id AND o.uid = @uid
                  AND o.document_id = m.document_id AND o.locale = m.locale)
GROUP BY m.document_id, m.locale ORDER BY m.document_id, m.locale;

-- name: ReconciliationGhostInsert :execrows
-- The mirror's live documents between two documentIds that Strapi does not list, in a list that
-- was read whole and has no odd row. Both bounds are plain comparisons, so that only this part
-- of the primary key is read. A document that Strapi lists with a locale and the mirror has
-- without one, or the other way round, is no ghost: its key changed. Nor is one that a sync has
-- brought since the list began: Strapi may have made it behind the last row that was listed.
INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, listed_at, enqueued, lost, cause)
SELECT @run_id, m.uid, m.document_id, m.locale, 'ghost', t.started_at, false,
       CASE WHEN NOT t.baseline OR EXISTS (
           SELECT FROM entity_sync s WHERE s.uid = m.uid AND s.document_id = m.document_id
           AND s.locale = m.locale AND s.done_seq < s.want_seq) THEN false END, 'change'
FROM (SELECT @uid::text AS uid, u.*, bool_or(u.listed) OVER (PARTITION BY u.document_id, u.locale) AS same_key,
             bool_or(u.listed AND u.locale = '') OVER document AS without_locale,
             bool_or(u.listed AND u.locale <> '') OVER document AS with_locale
      FROM (SELECT d.document_id, d.locale, false AS listed FROM deal d WHERE d.uid = @uid AND d.deleted_at IS NULL
                AND d.document_id > @after::text AND d.document_id <= @upto::text
            UNION ALL
            SELECT b.document_id, b.locale, false FROM billing b WHERE b.uid = @uid AND b.deleted_at IS NULL
                AND b.document_id > @after::text AND b.document_id <= @upto::text
            UNION ALL
            SELECT l.document_id, l.locale, true FROM reconciliation_staged l WHERE l.run_id = @run_id AND l.uid = @uid
                AND l.document_id > @after::text AND l.document_id <= @upto::text) u
      WINDOW document AS (PARTITION BY u.document_id)) m
JOIN reconciliation_type t ON t.run_id = @run_id AND t.uid = @uid AND t.kind = 'full' AND t.odd = 0
WHERE NOT m.same_key AND NOT CASE WHEN m.locale = '' THEN m.with_locale ELSE m.without_locale END
  AND NOT EXISTS (
    SELECT FROM mirror_change c
    WHERE c.uid = m.uid AND c.document_id = m.document_id AND c.locale = m.locale AND c.kind IN ('created', 'revived')
      AND c.changed_at > t.started_at)
ORDER BY m.document_id, m.locale;

-- name: ReconciliationTwins :many
-- Documents with several published rows in one locale, none of which a publication during the
-- list (since @began) has replaced: Strapi has both.
SELECT r.document_id, r.locale, array_agg(r.row_id ORDER BY r.row_id)::bigint[] AS row_ids
FROM (SELECT s.document_id, s.locale, s.row_id,
             bool_or((s.attributes->>'published_at')::timestamptz >= @began::timestamptz)
                 OVER (PARTITION BY s.document_id, s.locale ORDER BY s.row_id
                       ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS replaced
      FROM reconciliation_staged s
      WHERE s.run_id = @run_id AND s.uid = @uid AND s.version = 'published'
        AND EXISTS (SELECT FROM reconciliation_staged o
                    WHERE o.run_id = @run_id AND o.uid = @uid AND o.version = 'published' AND o.repeated)) r
WHERE r.replaced IS NOT TRUE
GROUP BY r.document_id, r.locale HAVING count(*) > 1
ORDER BY r.document_id, r.locale;

-- name: ReconciliationGhostCount :one
-- Ghosts of a type in this run: all that wait, and those that no verified entry.delete names.
SELECT count(*) FILTER (WHERE NOT g.enqueued) AS waiting,
       count(*) FILTER (WHERE NOT g.enqueued AND NOT EXISTS (
           SELECT FROM inbox_event e WHERE e.uid = g.uid AND e.document_id = g.document_id
           AND e.locale = g.locale AND e.seq IS NOT NULL AND e.event = 'entry.delete')) AS unverified,
       (coalesce((array_agg(g.document_id ORDER BY g.id))[1:5], '{}'))::text[] AS examples
FROM reconciliation_difference g WHERE g.run_id = @run_id AND g.uid = @uid AND g.kind = 'ghost';

-- name: ReconciliationHoldGhosts :exec
UPDATE reconciliation_difference SET held = true
WHERE run_id = @run_id AND uid = @uid AND kind = 'ghost' AND NOT enqueued;

-- name: ReconciliationEmptied :many
-- How many live documents lost each essential value in this run, most first. restored counts
-- those whose updatedAt went back.
SELECT k.name::text AS name, count(*) AS documents, count(*) FILTER (WHERE d.cause = 'restored') AS restored,
       ((array_agg(d.document_id ORDER BY d.id))[1:5])::text[] AS examples
FROM reconciliation_difference d CROSS JOIN LATERAL unnest(d.emptied) k (name)
WHERE d.run_id = @run_id AND d.uid = @uid AND NOT d.enqueued
GROUP BY k.name ORDER BY documents DESC, k.name;

-- name: ReconciliationHoldEmptied :execrows
UPDATE reconciliation_difference SET held = true
WHERE run_id = @run_id AND uid = @uid AND emptied && @columns::text[] AND NOT enqueued;

-- name: ReconciliationExplain :one
-- Names what only many documents together show. Silent differences in just the same columns
-- are a change of the schema or of a setting. Where many documents are restored, those that
-- appear and vanish are, too. Returns how many there are of each, and an example of the columns.
WITH many AS (
    SELECT d.columns FROM reconciliation_difference d
    WHERE d.run_id = @run_id AND d.uid = @uid AND d.kind = 'stale' AND d.cause = 'silent'
    GROUP BY d.columns HAVING count(*) > @most
), restored AS (
    SELECT count(*) > @most AS many FROM reconciliation_difference d
    WHERE d.run_id = @run_id AND d.uid = @uid AND d.cause = 'restored'
), renamed AS (
    UPDATE reconciliation_difference d SET lost = false,
        cause = CASE WHEN d.cause = 'silent' THEN 'schema' ELSE 'restored' END
    FROM restored r
    WHERE d.run_id = @run_id AND d.uid = @uid
      AND (d.kind = 'stale' AND d.cause = 'silent' AND d.columns IN (SELECT m.columns FROM many m)
           OR r.many AND d.kind IN ('missing', 'ghost') AND d.cause = 'change')
    RETURNING d.id, d.cause
), causes AS (
    SELECT coalesce(n.cause, d.cause) AS cause, count(*) AS documents, min(d.document_id) AS example
    FROM reconciliation_difference d LEFT JOIN renamed n ON n.id = d.id
    WHERE d.run_id = @run_id AND d.uid = @uid GROUP BY 1
), noted AS (
    UPDATE reconciliation_type SET causes = (SELECT coalesce(jsonb_object_agg(c.cause, c.documents), '{}') FROM causes c)
    WHERE run_id = @run_id AND uid = @uid
)
SELECT coalesce(sum(c.documents) FILTER (WHERE c.cause = 'restored'), 0)::bigint AS restored,
       coalesce(sum(c.documents) FILTER (WHERE c.cause = 'schema'), 0)::bigint AS schema,
       coalesce((SELECT array_to_string(m.columns, ', ') FROM many m LIMIT 1), '')::text AS columns,
       coalesce(min(c.example) FILTER (WHERE c.cause IN ('restored', 'schema')), '')::text AS example
FROM causes c;

-- name: ReconciliationTake :many
-- The next documents to refresh, behind the row that was taken last. The caller requests that in
-- the same transaction.
UPDATE reconciliation_difference SET enqueued = true
WHERE id IN (SELECT g.id FROM reconciliation_difference g
             WHERE g.run_id = @run_id AND g.uid = @uid AND g.id > @after::bigint AND NOT g.enqueued AND NOT g.held
             ORDER BY g.id LIMIT @max_rows)
RETURNING id, document_id, locale, kind;

-- name: EntityDeadTake :many
-- Dead letters of a type that died before a moment.
SELECT document_id, locale FROM entity_sync
WHERE done_seq < want_seq AND state = 'dead' AND uid = @uid AND coalesce(dead_at < @before::timestamptz, true)
ORDER BY document_id, locale LIMIT @max_rows;

-- name: EntityDeadCount :one
SELECT count(*) FROM entity_sync WHERE done_seq < want_seq AND state = 'dead' AND uid = @uid;

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
          AND e.received_on >= (coalesce(d.listed_at, d.found_at) AT TIME ZONE 'UTC')::date - 1
          AND e.received_at > coalesce(d.listed_at, d.found_at) - interval '90 seconds')
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
                 WHERE f.kind = 'full' AND f.status = 'done' AND f.types IS NULL AND f.finished_at < clock_timestamp() - interval '60 seconds'
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
LEFT JOIN LATERAL (SELECT r.finished_at AS last_run_at FROM reconciliation_run r WHERE r.status IN ('done', 'partial')
                   ORDER BY r.finished_at DESC LIMIT 1) l ON true
LEFT JOIN LATERAL (SELECT r.finished_at AS last_full_run_at, CASE WHEN r.baseline THEN r.missing + r.stale + r.ghosts ELSE 0 END AS drift
                   FROM reconciliation_run r WHERE r.kind = 'full' AND r.status = 'done' AND r.types IS NULL
                   ORDER BY r.finished_at DESC LIMIT 1) f ON true;

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
RETURNING (tripped_at IS NOT NULL)::boolean AS tripped;

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

-- name: EntityHoldBack :exec
-- The guard holds the deletion back: the attempt does not count and the refresh stays requested.
UPDATE entity_sync SET
    failures = greatest(failures - 1, 0), attempt_expires_at = NULL, last_error = @last_error::text,
    held_back_since = coalesce(held_back_since, now()), next_attempt_at = now() + make_interval(secs => @wait_seconds::float8)
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND version = @version AND done_seq < want_seq;

-- name: EntityAllowHeldBack :exec
-- Allows the deletions that the guard holds back, and makes them due.
UPDATE entity_sync SET next_attempt_at = NULL, deletion_allowed_seq = want_seq
WHERE uid = @uid AND done_seq < want_seq AND state = 'pending' AND held_back_since IS NOT NULL;

-- name: EntityAllowDeletion :exec
-- Allows the deletion of documents with the refresh that was requested last. The caller holds
-- the rows' locks.
UPDATE entity_sync AS e SET deletion_allowed_seq = e.want_seq
FROM (SELECT unnest(@document_ids::text[]) AS document_id, unnest(@locales::text[]) AS locale) k
WHERE e.uid = @uid AND e.document_id = k.document_id AND e.locale = k.locale;

-- name: ReconciliationTypeGet :one
SELECT * FROM reconciliation_type WHERE run_id = @run_id AND uid = @uid;

-- name: ReconciliationTypeTwins :exec
UPDATE reconciliation_type SET twins = @twins WHERE run_id = @run_id AND uid = @uid;
