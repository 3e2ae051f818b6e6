-- +goose Up

-- One row a document (a deal or a billing, in one locale) that Dealbox keeps in step with Strapi.
-- The protocol that reads and writes it is described in ARCHITECTURE.md.
CREATE TABLE entity_sync (
    uid                text COLLATE "C" NOT NULL,
    document_id        text COLLATE "C" NOT NULL,
    locale             text COLLATE "C" NOT NULL DEFAULT '',
    want_seq           bigint NOT NULL DEFAULT 0,
    done_seq           bigint NOT NULL DEFAULT 0,
    version            bigint NOT NULL DEFAULT 0,
    events             bigint NOT NULL DEFAULT 0,
    events_done        bigint NOT NULL DEFAULT 0,
    state              text NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'pending', 'dead')),
    failures           integer NOT NULL DEFAULT 0,
    last_error         text,
    attempt_expires_at timestamptz,
    next_attempt_at    timestamptz,
    pending_since      timestamptz,
    dead_at            timestamptz,
    PRIMARY KEY (uid, document_id, locale),
    CHECK (done_seq <= want_seq),
    CHECK (events_done <= events)
);
CREATE INDEX entity_sync_open_idx ON entity_sync (state, pending_since)
    INCLUDE (events, events_done) WHERE done_seq < want_seq;

COMMENT ON TABLE entity_sync IS 'One row a document and locale: how far its mirror is behind what was asked for.';
COMMENT ON COLUMN entity_sync.want_seq IS 'Raised by one for each look that was asked for (webhook, duplicate, reconciliation, relation).';
COMMENT ON COLUMN entity_sync.done_seq IS 'The want_seq that the mirror is known to reflect; equal to want_seq means in step.';
COMMENT ON COLUMN entity_sync.version IS 'Compare-and-set guard: raised by one for each sync that was written.';
COMMENT ON COLUMN entity_sync.events IS 'Rows of inbox_event with a seq for this document.';
COMMENT ON COLUMN entity_sync.events_done IS 'How many of them have seq <= done_seq.';
COMMENT ON COLUMN entity_sync.failures IS 'Attempts in a row that failed because of this document.';
COMMENT ON COLUMN entity_sync.attempt_expires_at IS 'A sync is under way; past this time its worker has died and the next attempt counts.';
COMMENT ON COLUMN entity_sync.next_attempt_at IS 'After a failure: not tried again before this time.';

-- Every authentic delivery, as it came. Rows are never updated; the view
-- inbox_event_status derives the status.
CREATE TABLE inbox_event (
    id                uuid NOT NULL,
    received_on       date NOT NULL,
    received_at       timestamptz NOT NULL,
    dedup_key         bytea NOT NULL,
    scheme            text NOT NULL,
    event             text,
    uid               text COLLATE "C",
    model             text,
    document_id       text COLLATE "C",
    locale            text COLLATE "C",
    sent_at           timestamptz,
    seq               bigint,
    body              bytea NOT NULL,
    quarantine_reason text,
    PRIMARY KEY (received_on, id),
    UNIQUE (received_on, dedup_key),
    CHECK (seq IS NULL OR (uid IS NOT NULL AND document_id IS NOT NULL AND locale IS NOT NULL))
) PARTITION BY RANGE (received_on);
CREATE INDEX inbox_event_document_idx ON inbox_event (uid, document_id, locale, seq) WHERE seq IS NOT NULL;

COMMENT ON TABLE inbox_event IS 'Every authentic webhook delivery, once a UTC day. Partitioned by day; rows are never updated.';
COMMENT ON COLUMN inbox_event.received_on IS 'The database''s UTC day; the partition key.';
COMMENT ON COLUMN inbox_event.dedup_key IS 'sha256 of the signed delivery id, or of the body where the scheme has no id.';
COMMENT ON COLUMN inbox_event.scheme IS 'What authenticated it: standard, timestamped, strapi or token.';
COMMENT ON COLUMN inbox_event.sent_at IS 'createdAt of the envelope: when Strapi sent it, not when the document changed.';
COMMENT ON COLUMN inbox_event.seq IS 'entity_sync.want_seq that this delivery asked for; null when ignored or quarantined.';
COMMENT ON COLUMN inbox_event.body IS 'The raw bytes that were signed.';

CREATE VIEW inbox_event_status AS
SELECT e.*,
       CASE
           WHEN e.quarantine_reason IS NOT NULL THEN 'quarantined'
           WHEN e.seq IS NULL THEN 'ignored'
           WHEN s.done_seq >= e.seq THEN 'processed'
           WHEN s.state = 'dead' THEN 'dead'
           ELSE 'pending'
       END AS status
FROM inbox_event e
LEFT JOIN entity_sync s ON e.seq IS NOT NULL
    AND s.uid = e.uid AND s.document_id = e.document_id AND s.locale = e.locale;
COMMENT ON VIEW inbox_event_status IS 'inbox_event with its derived status: processed, pending, dead, ignored or quarantined.';

-- Counters of what was received. Several rows, so that writers do not queue on one.
CREATE TABLE inbox_counter (
    slot        smallint PRIMARY KEY,
    received    bigint NOT NULL DEFAULT 0,
    ignored     bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE inbox_counter IS 'Sums over all slots: deliveries stored, and how many of them were ignored or quarantined.';

-- The ledger in one statement: received = processed + pending + dead + ignored + quarantined.
-- Processed is the remainder; tests compare each number with a count over the rows.
CREATE VIEW inbox_ledger AS
SELECT c.received,
       (c.received - c.ignored - c.quarantined - o.pending - o.dead)::bigint AS processed,
       o.pending, o.dead, c.ignored, c.quarantined, o.oldest_pending_since
FROM (SELECT coalesce(sum(received), 0)::bigint AS received,
             coalesce(sum(ignored), 0)::bigint AS ignored,
             coalesce(sum(quarantined), 0)::bigint AS quarantined
      FROM inbox_counter) c,
     (SELECT coalesce(sum(events - events_done) FILTER (WHERE state <> 'dead'), 0)::bigint AS pending,
             coalesce(sum(events - events_done) FILTER (WHERE state = 'dead'), 0)::bigint AS dead,
             min(pending_since) FILTER (WHERE state <> 'dead') AS oldest_pending_since
      FROM entity_sync WHERE done_seq < want_seq) o;
COMMENT ON VIEW inbox_ledger IS 'received = processed + pending + dead + ignored + quarantined, at every moment.';

-- Partitions are made ahead by the owner's function, so the service's role needs no DDL.
-- A new partition is built on its own and attached under a short lock_timeout: a long
-- SELECT of an auditor makes this call fail, and it is tried again; it never blocks ingest.
-- +goose StatementBegin
CREATE FUNCTION inbox_make_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET lock_timeout = '1s' AS $$
DECLARE
    day  date := (now() AT TIME ZONE 'UTC')::date;
    last date := day + days_ahead;
    part text;
    made integer := 0;
BEGIN
    -- One maker at a time; the others find everything made.
    PERFORM pg_advisory_xact_lock(hashtext('inbox_make_partitions'));
    WHILE day <= last LOOP
        part := 'inbox_event_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('public.' || part) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.inbox_event INCLUDING ALL)', part);
            EXECUTE format('ALTER TABLE public.inbox_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', part, day, day + 1);
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION inbox_make_partitions IS 'Makes the day partitions of inbox_event for today and the given number of days ahead; answers how many it made.';

-- The last UTC day that has a partition, counted without a gap from today; null when today has none.
-- +goose StatementBegin
CREATE FUNCTION inbox_partition_horizon() RETURNS date
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
    day date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF to_regclass('public.inbox_event_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
        RETURN NULL;
    END IF;
    WHILE to_regclass('public.inbox_event_' || to_char(day + 1, 'YYYYMMDD')) IS NOT NULL LOOP
        day := day + 1;
    END LOOP;
    RETURN day;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION inbox_partition_horizon IS 'Last UTC day with a partition of inbox_event, without a gap from today; null when today has none.';

SELECT inbox_make_partitions(14);

-- History is append-only. Tables that hold it use this trigger.
-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION refuse_change();
DROP FUNCTION inbox_partition_horizon();
DROP FUNCTION inbox_make_partitions(integer);
DROP VIEW inbox_ledger;
DROP TABLE inbox_counter;
DROP VIEW inbox_event_status;
DROP TABLE inbox_event;
DROP TABLE entity_sync;
