-- +goose Up

-- An operator can have a delta begin earlier than its types' watermarks say.
ALTER TABLE reconciliation_run ADD COLUMN since timestamptz;
COMMENT ON COLUMN reconciliation_run.since IS 'Of a delta: it lists at least what Strapi updated from this time on. Null: from where the last comparison of each type began.';

-- A permission to delete holds for the run that has it, and for the types that were named with it:
-- requests share the run that waits.
ALTER TABLE reconciliation_run ADD COLUMN allow_types text[];
COMMENT ON COLUMN reconciliation_run.allow_types IS 'The content types, by their uids, for which allow_deletes holds; null for all of the run.';
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator says that the deletions which this run finds are right, and the values that are empty in it, too.';

ALTER TABLE entity_sync ADD COLUMN deletion_allowed_seq bigint;
COMMENT ON COLUMN entity_sync.deletion_allowed_seq IS 'The refresh with which an operator allowed the deletion of this document, whatever the guard says. It is used up when that refresh is done. Null when nobody ever did.';
COMMENT ON COLUMN deletion_guard.allow_until IS 'Not used any more, see entity_sync.deletion_allowed_seq: an earlier version allowed every deletion until this time.';
COMMENT ON COLUMN deletion_guard.allowed_by IS 'Who set allow_until. reconciliation_run.actor has who allows deletions now.';

-- Webhooks that name no document share one episode a type.
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
            '    OR EXISTS (SELECT FROM public.%1$I e JOIN alert a ON (a.subject = e.quarantine_reason OR a.subject LIKE ''no document is named%%'') '
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

-- +goose Down

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

COMMENT ON COLUMN deletion_guard.allow_until IS 'An operator allows every deletion until this time; null when nobody ever did.';
COMMENT ON COLUMN deletion_guard.allowed_by IS 'Who set allow_until: cli:<os user> or the name of an admin token.';
ALTER TABLE entity_sync DROP COLUMN deletion_allowed_seq;
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator confirms the deletions that the guard holds back.';
ALTER TABLE reconciliation_run DROP COLUMN since, DROP COLUMN allow_types;
