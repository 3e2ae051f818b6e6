-- +goose Up

-- History is append-only: every table that holds it has this trigger. It lets only the functions of
-- retention delete. They set the variable while they do; whoever sets it by hand must also own the
-- table, and an owner could as well drop the trigger.
-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('dealbox.retention', true) = 'on'
       AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION refuse_change IS 'Trigger of tables that hold history: fails every UPDATE, DELETE and TRUNCATE, except a DELETE by a retention function of the table''s owner.';

-- The protocol that reads and writes this table is described in ARCHITECTURE.md.
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
COMMENT ON TABLE entity_sync IS 'One row for each document (a deal or a billing) in each locale: how far its mirrored row is behind the refreshes that were requested.';
COMMENT ON COLUMN entity_sync.uid IS 'Strapi''s content type, for example api::billing.billing.';
COMMENT ON COLUMN entity_sync.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN entity_sync.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN entity_sync.want_seq IS 'Number of the last requested refresh. A webhook (also a duplicate), a replay, a reconciliation or a changed relation raises it by one.';
COMMENT ON COLUMN entity_sync.done_seq IS 'The refresh that the mirror is known to include. Equal to want_seq: the mirror is in step. The sync worker raises it.';
COMMENT ON COLUMN entity_sync.version IS 'Compare-and-set guard: each sync that writes raises it by one, and a sync that read an older version writes nothing.';
COMMENT ON COLUMN entity_sync.events IS 'Number of rows of inbox_event with a seq for this document.';
COMMENT ON COLUMN entity_sync.events_done IS 'How many of those events have seq <= done_seq.';
COMMENT ON COLUMN entity_sync.state IS 'ok: in step; pending: a refresh waits; dead: a dead letter, given up after JOB_MAX_ATTEMPTS failures until a new event, a replay or a reconciliation revives it.';
COMMENT ON COLUMN entity_sync.failures IS 'Attempts in a row that failed because of this document. An attempt is counted when it starts.';
COMMENT ON COLUMN entity_sync.last_error IS 'Why the last attempt failed, or that the deletion guard holds the document back; null after a success.';
COMMENT ON COLUMN entity_sync.attempt_expires_at IS 'While an attempt runs: after this time its worker counts as dead, and the next attempt is counted. Null when none runs.';
COMMENT ON COLUMN entity_sync.next_attempt_at IS 'After a failure: the document is not tried before this time. Null when it may be tried now.';
COMMENT ON COLUMN entity_sync.pending_since IS 'When the oldest refresh that still waits was requested. Null when none waits; a dead letter keeps its time.';
COMMENT ON COLUMN entity_sync.dead_at IS 'When the document became a dead letter; null when it is none.';

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
-- The search finds events with a seq through the index above and entity_sync. These two serve the few
-- events that were ignored or quarantined. Both are partial, so a processed event costs ingest nothing more.
CREATE INDEX inbox_event_aside_idx ON inbox_event (received_on, id) WHERE seq IS NULL;
CREATE INDEX inbox_event_aside_document_idx ON inbox_event (document_id) WHERE seq IS NULL AND document_id IS NOT NULL;
-- Partitions get the row trigger from their parent. TRUNCATE fires the trigger of exactly the table that
-- it names, so each partition has its own (inbox_make_partitions).
CREATE TRIGGER inbox_event_append_only BEFORE UPDATE OR DELETE ON inbox_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER inbox_event_no_truncate BEFORE TRUNCATE ON inbox_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE inbox_event IS 'Append-only: every authentic webhook, once a UTC day. Partitioned by day. The receiver inserts rows, nobody updates them; inbox_event_status derives the status.';
COMMENT ON COLUMN inbox_event.id IS 'Event id that the webhook''s answer contains (a version 7 UUID).';
COMMENT ON COLUMN inbox_event.received_on IS 'UTC day by the database''s clock; the partition key.';
COMMENT ON COLUMN inbox_event.received_at IS 'When the receiver stored the event, by the database''s clock.';
COMMENT ON COLUMN inbox_event.dedup_key IS 'SHA-256 of the signed delivery id, or of the body where the scheme has no id. A second event of the day with the same key is a duplicate and is not stored.';
COMMENT ON COLUMN inbox_event.scheme IS 'What authenticated the webhook: standard, timestamped, strapi or token.';
COMMENT ON COLUMN inbox_event.event IS 'Strapi''s event, for example entry.update. Null when the body does not name one.';
COMMENT ON COLUMN inbox_event.uid IS 'Strapi''s content type, for example api::billing.billing. Null when the body does not name one.';
COMMENT ON COLUMN inbox_event.model IS 'Strapi''s short name of the content type, for example billing. Null when the body does not name one.';
COMMENT ON COLUMN inbox_event.document_id IS 'Strapi''s documentId. Null when the event is about no document, or the body does not name it.';
COMMENT ON COLUMN inbox_event.locale IS 'Strapi''s locale; empty when the document has none. Never null where seq is set.';
COMMENT ON COLUMN inbox_event.sent_at IS 'createdAt of the envelope: when Strapi sent the webhook, not when the document changed. Null when the body has no such time.';
COMMENT ON COLUMN inbox_event.seq IS 'The refresh that this event requested (entity_sync.want_seq). Null when the event was ignored or quarantined.';
COMMENT ON COLUMN inbox_event.body IS 'The raw bytes of the body, exactly as they were signed.';
COMMENT ON COLUMN inbox_event.quarantine_reason IS 'Why the body could not be read; null when it could.';

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
COMMENT ON VIEW inbox_event_status IS 'inbox_event with the status of each event as it is now. The columns before status are those of inbox_event.';
COMMENT ON COLUMN inbox_event_status.id IS 'Event id that the webhook''s answer contains.';
COMMENT ON COLUMN inbox_event_status.received_on IS 'UTC day by the database''s clock; the partition key, so a condition on it reads those days alone.';
COMMENT ON COLUMN inbox_event_status.received_at IS 'When the receiver stored the event.';
COMMENT ON COLUMN inbox_event_status.dedup_key IS 'SHA-256 of the signed delivery id, or of the body where the scheme has no id.';
COMMENT ON COLUMN inbox_event_status.scheme IS 'What authenticated the webhook: standard, timestamped, strapi or token.';
COMMENT ON COLUMN inbox_event_status.event IS 'Strapi''s event; null when the body does not name one.';
COMMENT ON COLUMN inbox_event_status.uid IS 'Strapi''s content type; null when the body does not name one.';
COMMENT ON COLUMN inbox_event_status.model IS 'Strapi''s short name of the content type; null when the body does not name one.';
COMMENT ON COLUMN inbox_event_status.document_id IS 'Strapi''s documentId; null when the event is about no document, or the body does not name it.';
COMMENT ON COLUMN inbox_event_status.locale IS 'Strapi''s locale; empty when the document has none.';
COMMENT ON COLUMN inbox_event_status.sent_at IS 'When Strapi says that it sent the webhook; null when it does not say.';
COMMENT ON COLUMN inbox_event_status.seq IS 'The refresh that this event requested; null when it was ignored or quarantined.';
COMMENT ON COLUMN inbox_event_status.body IS 'The raw bytes of the body.';
COMMENT ON COLUMN inbox_event_status.quarantine_reason IS 'Why the body could not be read; null when it could.';
COMMENT ON COLUMN inbox_event_status.status IS 'processed: the mirror includes it; pending: its document waits; dead: its document is a dead letter; ignored: an event or a type that Dealbox does not process; quarantined: it could not be read.';

-- Several rows, so that concurrent receivers do not wait for each other.
CREATE TABLE inbox_counter (
    slot        smallint PRIMARY KEY,
    received    bigint NOT NULL DEFAULT 0,
    ignored     bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE inbox_counter IS 'How many events were stored since the database was made; the numbers are the sums over all slots. The receiver writes it in the transaction that stores the events.';
COMMENT ON COLUMN inbox_counter.slot IS 'Number of the receiver''s writer. It means nothing else.';
COMMENT ON COLUMN inbox_counter.received IS 'Events stored, without duplicates.';
COMMENT ON COLUMN inbox_counter.ignored IS 'Those of an event or a type that Dealbox does not process.';
COMMENT ON COLUMN inbox_counter.quarantined IS 'Those that could not be read.';

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
COMMENT ON VIEW inbox_ledger IS 'One row. received = processed + pending + dead + ignored + quarantined, at every moment.';
COMMENT ON COLUMN inbox_ledger.received IS 'Events stored since the database was made, without duplicates; retention does not lower it.';
COMMENT ON COLUMN inbox_ledger.processed IS 'Events that the mirror includes.';
COMMENT ON COLUMN inbox_ledger.pending IS 'Events whose document waits for a refresh.';
COMMENT ON COLUMN inbox_ledger.dead IS 'Events whose document is a dead letter.';
COMMENT ON COLUMN inbox_ledger.ignored IS 'Events of a kind or a type that Dealbox does not process.';
COMMENT ON COLUMN inbox_ledger.quarantined IS 'Events that could not be read.';
COMMENT ON COLUMN inbox_ledger.oldest_pending_since IS 'Since when the oldest document that is no dead letter waits; null when none does.';

-- The service's role has no DDL, so it calls this function of the owner ahead of time. A new partition is
-- built on its own and attached under a short lock_timeout. ATTACH takes a lock for which neither a SELECT
-- nor an INSERT waits. Behind a long SELECT of an auditor this call fails and is tried again; it never
-- blocks ingest. pg_temp comes last, so that the caller's temporary tables do not stand in front of ours.
-- +goose StatementBegin
CREATE FUNCTION inbox_make_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
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
            EXECUTE format('CREATE TRIGGER inbox_event_no_truncate BEFORE TRUNCATE ON public.%I '
                           'FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change()', part);
            EXECUTE format('ALTER TABLE public.inbox_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', part, day, day + 1);
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION inbox_make_partitions IS 'Makes the day partitions of inbox_event for today (UTC) and the given number of days ahead. Returns how many it made.';

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
COMMENT ON FUNCTION inbox_partition_horizon IS 'Returns the last UTC day that has a partition of inbox_event, counted without a gap from today; null when today has none.';

SELECT inbox_make_partitions(14);
