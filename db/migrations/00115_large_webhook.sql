-- +goose Up

-- A webhook over WEBHOOK_MAX_BYTES is verified while it streams, and its body is not kept.
ALTER TABLE inbox_event
    ADD COLUMN body_bytes  integer,
    ADD COLUMN body_sha256 bytea;
COMMENT ON COLUMN inbox_event.body IS 'The raw bytes of the body, exactly as they were signed. Empty when the body was over WEBHOOK_MAX_BYTES and was not kept.';
COMMENT ON COLUMN inbox_event.body_bytes IS 'Size of a body that was not kept, in bytes; null when body has it.';
COMMENT ON COLUMN inbox_event.body_sha256 IS 'SHA-256 of a body that was not kept; null when body has it.';

CREATE OR REPLACE VIEW inbox_event_status AS
SELECT e.id, e.received_on, e.received_at, e.dedup_key, e.scheme, e.event, e.uid, e.model, e.document_id, e.locale, e.sent_at,
       e.seq, e.body, e.quarantine_reason,
       CASE
           WHEN e.quarantine_reason IS NOT NULL THEN 'quarantined'
           WHEN e.seq IS NULL THEN 'ignored'
           WHEN s.done_seq >= e.seq THEN 'processed'
           WHEN s.state = 'dead' THEN 'dead'
           ELSE 'pending'
       END AS status,
       e.body_bytes, e.body_sha256
FROM inbox_event e
LEFT JOIN entity_sync s ON e.seq IS NOT NULL
    AND s.uid = e.uid AND s.document_id = e.document_id AND s.locale = e.locale;
COMMENT ON VIEW inbox_event_status IS 'inbox_event with the status of each event as it is now. The other columns are those of inbox_event.';
COMMENT ON COLUMN inbox_event_status.body IS 'The raw bytes of the body; empty when it was too large to be kept.';
COMMENT ON COLUMN inbox_event_status.body_bytes IS 'Size of a body that was not kept, in bytes; null when body has it.';
COMMENT ON COLUMN inbox_event_status.body_sha256 IS 'SHA-256 of a body that was not kept; null when body has it.';

CREATE OR REPLACE VIEW audit_event AS
SELECT e.id AS event_id, e.received_on, e.received_at, e.scheme, e.event, e.uid, e.document_id, e.locale, e.sent_at, e.status,
       CASE e.status
           WHEN 'quarantined' THEN e.quarantine_reason
           WHEN 'ignored' THEN 'an event or a type that Dealbox does not process'
           WHEN 'dead' THEN s.last_error
           WHEN 'pending' THEN coalesce(s.last_error, 'waits for its turn')
       END AS why,
       CASE WHEN e.status IN ('dead', 'pending') THEN s.failures END AS failures,
       coalesce(e.body_bytes, octet_length(e.body)) AS body_bytes,
       encode(coalesce(e.body_sha256, sha256(e.body)), 'hex') AS body_sha256,
       e.body_bytes IS NULL AS body_kept
FROM inbox_event_status e
LEFT JOIN entity_sync s ON e.seq IS NOT NULL AND s.uid = e.uid AND s.document_id = e.document_id AND s.locale = e.locale;
COMMENT ON COLUMN audit_event.body_bytes IS 'Size of the raw body, in bytes.';
COMMENT ON COLUMN audit_event.body_sha256 IS 'SHA-256 of the raw body in hex, to compare with a copy. The body itself is not for auditors.';
COMMENT ON COLUMN audit_event.body_kept IS 'False when the body was over WEBHOOK_MAX_BYTES: its signature was verified, and the body was not kept.';

-- Such a webhook, or another one that names no document, has everything compared at once.
ALTER TABLE reconciliation_run DROP CONSTRAINT reconciliation_run_trigger_check,
    ADD CONSTRAINT reconciliation_run_trigger_check
        CHECK (trigger IN ('start', 'schedule', 'demand', 'after_refusal', 'after_quarantine'));
COMMENT ON COLUMN reconciliation_run.trigger IS 'Why: start (Dealbox started), schedule, demand (actor requested it), after_refusal (webhooks were answered 503) or after_quarantine (a webhook named no document).';

-- All webhooks that name no document share one episode, whatever could not be read of each: while it is
-- open, no day is dropped that has a quarantined event.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION inbox_drop_day(keep interval) RETURNS date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    cut  timestamptz := retention_cut(keep, '7 days');
    part record;
    busy boolean;
    removed bigint;
    counts jsonb;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('inbox_drop_day')) THEN
        RETURN NULL;
    END IF;
    FOR part IN
        SELECT c.relname AS name, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'public.inbox_event'::regclass AND c.relname ~ '^inbox_event_\d{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD') < (cut AT TIME ZONE 'UTC')::date
        ORDER BY 2
    LOOP
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM entity_sync s JOIN public.%1$I e ON e.uid = s.uid AND e.document_id = s.document_id '
            '                 AND e.locale = s.locale AND e.seq > s.done_seq WHERE s.done_seq < s.want_seq) '
            '    OR EXISTS (SELECT FROM public.%1$I e JOIN alert a ON a.subject IN (e.quarantine_reason, ''no document is named'') '
            '               WHERE e.seq IS NULL AND e.quarantine_reason IS NOT NULL '
            '                 AND a.rule = ''body_quarantined'' AND a.resolved_at IS NULL)', part.name) INTO busy;
        CONTINUE WHEN busy;
        EXECUTE format(
            'SELECT count(*), jsonb_build_object(''day'', %L, ''ignored'', count(*) FILTER (WHERE seq IS NULL AND quarantine_reason IS NULL), '
            '                                    ''quarantined'', count(*) FILTER (WHERE quarantine_reason IS NOT NULL)) '
            'FROM public.%I', part.day, part.name) INTO removed, counts;
        INSERT INTO retention_event (subject, removed, older_than, details) VALUES ('inbox_event', removed, cut, counts);
        EXECUTE format('DROP TABLE public.%I', part.name);
        RETURN part.day;
    END LOOP;
    RETURN NULL;
END $$;
-- +goose StatementEnd
