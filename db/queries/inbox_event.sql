-- name: InboxEventInsert :many
-- Stores deliveries once a UTC day and counts what was stored; a duplicate returns no
-- row and is not counted. Rows go in by dedup_key, so that two groups with the same
-- deliveries wait for each other in one order.
WITH stored AS (
    INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, event, uid, model,
                             document_id, locale, sent_at, seq, body, quarantine_reason, body_bytes, body_sha256)
    SELECT k.id, (now() AT TIME ZONE 'UTC')::date, now(), k.dedup_key, k.scheme, nullif(k.event, ''), nullif(k.uid, ''),
           nullif(k.model, ''), nullif(k.document_id, ''),
           CASE WHEN k.seq > 0 THEN k.locale ELSE nullif(k.locale, '') END,
           nullif(k.sent_at, 'epoch'), nullif(k.seq, 0), k.body, nullif(k.quarantine_reason, ''),
           nullif(k.body_bytes, 0), nullif(k.body_sha256, '')
    FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@dedup_keys::bytea[]) AS dedup_key, unnest(@schemes::text[]) AS scheme,
                 unnest(@events::text[]) AS event, unnest(@uids::text[]) AS uid, unnest(@models::text[]) AS model,
                 unnest(@document_ids::text[]) AS document_id, unnest(@locales::text[]) AS locale,
                 unnest(@sent_ats::timestamptz[]) AS sent_at, unnest(@seqs::bigint[]) AS seq,
                 unnest(@bodies::bytea[]) AS body, unnest(@quarantine_reasons::text[]) AS quarantine_reason,
                 unnest(@body_sizes::integer[]) AS body_bytes, unnest(@body_digests::bytea[]) AS body_sha256) k
    ORDER BY k.dedup_key, k.id
    ON CONFLICT (received_on, dedup_key) DO NOTHING
    RETURNING id, seq, quarantine_reason
), counted AS (
    INSERT INTO inbox_counter AS c (slot, received, ignored, quarantined)
    SELECT @slot::smallint, count(*), count(*) FILTER (WHERE seq IS NULL AND quarantine_reason IS NULL),
           count(*) FILTER (WHERE quarantine_reason IS NOT NULL)
    FROM stored HAVING count(*) > 0
    ON CONFLICT (slot) DO UPDATE SET
        received = c.received + excluded.received,
        ignored = c.ignored + excluded.ignored,
        quarantined = c.quarantined + excluded.quarantined
)
SELECT id FROM stored;

-- name: InboxEventOriginals :many
-- The stored events that today's duplicates repeat.
SELECT dedup_key, id FROM inbox_event
WHERE received_on = (now() AT TIME ZONE 'UTC')::date AND dedup_key = ANY (@dedup_keys::bytea[]);

-- name: InboxMakePartitions :one
SELECT inbox_make_partitions(@days_ahead);

-- name: InboxPartitionDaysLeft :one
-- How many days after today have a partition; -1 when today has none.
SELECT coalesce(inbox_partition_horizon() - (now() AT TIME ZONE 'UTC')::date, -1)::integer;

-- name: InboxLedger :one
SELECT * FROM inbox_ledger;

-- name: InboxCounterTouch :exec
-- Writes a counter without changing it.
INSERT INTO inbox_counter AS c (slot) VALUES (@slot) ON CONFLICT (slot) DO UPDATE SET received = c.received;
