-- +goose Up

-- The service's role deletes nothing of this. It calls these functions of the owner,
-- which remove only what is older than a floor that the caller cannot lower, and which
-- write down what they removed.

CREATE TABLE retention_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    subject    text NOT NULL CHECK (subject IN ('inbox_event', 'mirror_change', 'alert', 'circuit_breaker_event', 'forecast')),
    removed    bigint NOT NULL,
    older_than timestamptz NOT NULL,
    role       text NOT NULL DEFAULT session_user,
    details    jsonb NOT NULL DEFAULT '{}'
);
CREATE TRIGGER retention_event_append_only BEFORE UPDATE OR DELETE ON retention_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER retention_event_no_truncate BEFORE TRUNCATE ON retention_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE retention_event IS 'Append-only: what retention removed, one row a batch or a day of events.';
COMMENT ON COLUMN retention_event.subject IS 'The table; alert stands for episodes with their history and notifications.';
COMMENT ON COLUMN retention_event.removed IS 'Rows of that table.';
COMMENT ON COLUMN retention_event.older_than IS 'All of them were older than this.';
COMMENT ON COLUMN retention_event.role IS 'The database role that asked for it.';

CREATE VIEW audit_retention AS
SELECT id AS event_id, at, subject, removed, older_than, role, details FROM retention_event;
COMMENT ON VIEW audit_retention IS 'What retention removed, and when: one row a batch or a day of events.';
COMMENT ON COLUMN audit_retention.removed IS 'Rows of the subject''s table; details counts what went with them.';
COMMENT ON COLUMN audit_retention.older_than IS 'All of them were older than this.';
COMMENT ON COLUMN audit_retention.role IS 'The database role that asked for it.';

-- Retention looks for what is resolved, the oldest first.
CREATE INDEX alert_resolved_idx ON alert (resolved_at) WHERE resolved_at IS NOT NULL;

-- History gives way to the functions below and to nothing else. They set the variable
-- while they delete; whoever sets it by hand must still own the table, and could as well
-- drop the trigger.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('dealbox.retention', true) = 'on'
       AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION retention_cut(keep interval, floor interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF keep IS NULL OR now() - keep > now() - floor THEN
        RAISE EXCEPTION 'what is younger than % is never removed', floor USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN now() - keep;
END $$;

-- DROP takes a lock for which every INSERT and SELECT waits that comes after it. It waits
-- for at most a tenth of a second: behind a long SELECT it fails, ingest goes on, and it
-- is tried again later. A processed event stays processed, so what was looked at before
-- the lock is true after it.
CREATE FUNCTION inbox_drop_day(keep interval) RETURNS date
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
            '    OR EXISTS (SELECT FROM public.%1$I e JOIN alert a ON a.subject = e.quarantine_reason '
            '               WHERE e.seq IS NULL AND a.rule = ''body_quarantined'' AND a.resolved_at IS NULL)', part.name) INTO busy;
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

-- Age is what the history says: the caller may write resolved_at, but no row of alert_event.
CREATE FUNCTION alert_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '30 days');
    ids bigint[];
    notifications bigint;
    history bigint;
BEGIN
    ids := ARRAY(SELECT a.id FROM alert a WHERE a.resolved_at < cut
                   AND NOT EXISTS (SELECT FROM alert_event e WHERE e.alert_id = a.id AND e.at >= cut)
                   AND NOT EXISTS (SELECT FROM notification n WHERE n.alert_id = a.id AND n.status = 'pending')
                 ORDER BY a.resolved_at LIMIT batch FOR UPDATE OF a SKIP LOCKED);
    IF ids = '{}' THEN
        RETURN 0;
    END IF;
    PERFORM set_config('dealbox.retention', 'on', true);
    DELETE FROM notification WHERE alert_id = ANY (ids);
    GET DIAGNOSTICS notifications = ROW_COUNT;
    DELETE FROM alert_event WHERE alert_id = ANY (ids);
    GET DIAGNOSTICS history = ROW_COUNT;
    DELETE FROM alert WHERE id = ANY (ids);
    PERFORM set_config('dealbox.retention', 'off', true);
    INSERT INTO retention_event (subject, removed, older_than, details)
    VALUES ('alert', cardinality(ids), cut, jsonb_build_object('alert_event', history, 'notification', notifications));
    RETURN cardinality(ids);
END $$;

-- The rows with the lowest ids are the oldest, so no more than these are looked at.
CREATE FUNCTION mirror_change_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '7 days');
    removed integer;
BEGIN
    PERFORM set_config('dealbox.retention', 'on', true);
    DELETE FROM mirror_change WHERE id IN (
        SELECT id FROM (SELECT id, changed_at FROM mirror_change ORDER BY id LIMIT batch) oldest WHERE changed_at < cut);
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('dealbox.retention', 'off', true);
    INSERT INTO retention_event (subject, removed, older_than) SELECT 'mirror_change', removed, cut WHERE removed > 0;
    RETURN removed;
END $$;

-- The last transition of each breaker stays: it says since when the state lasts.
CREATE FUNCTION circuit_breaker_event_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '30 days');
    removed integer;
BEGIN
    PERFORM set_config('dealbox.retention', 'on', true);
    DELETE FROM circuit_breaker_event WHERE id IN (
        SELECT id FROM (SELECT id, at, name FROM circuit_breaker_event ORDER BY id LIMIT batch) oldest
        WHERE at < cut AND id < (SELECT max(l.id) FROM circuit_breaker_event l WHERE l.name = oldest.name));
    GET DIAGNOSTICS removed = ROW_COUNT;
    PERFORM set_config('dealbox.retention', 'off', true);
    INSERT INTO retention_event (subject, removed, older_than) SELECT 'circuit_breaker_event', removed, cut WHERE removed > 0;
    RETURN removed;
END $$;

-- Past the cut the last snapshot of each UTC day stays. The next snapshot of a scope tells
-- whether one is the last of its day; the latest has no next.
CREATE FUNCTION forecast_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '1 hour');
    removed integer;
BEGIN
    DELETE FROM forecast WHERE id IN (
        SELECT f.id FROM forecast f
        CROSS JOIN LATERAL (SELECT n.computed_at FROM forecast n WHERE n.scope = f.scope AND n.id > f.id ORDER BY n.id LIMIT 1) next
        WHERE f.computed_at < cut
          AND (next.computed_at AT TIME ZONE 'UTC')::date = (f.computed_at AT TIME ZONE 'UTC')::date
        ORDER BY f.id LIMIT batch);
    GET DIAGNOSTICS removed = ROW_COUNT;
    INSERT INTO retention_event (subject, removed, older_than) SELECT 'forecast', removed, cut WHERE removed > 0;
    RETURN removed;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION refuse_change IS 'The trigger of tables that hold history.';
COMMENT ON FUNCTION retention_cut IS 'The time before which rows may be removed; an error when keep is shorter than the floor.';
COMMENT ON FUNCTION inbox_drop_day IS 'Drops the oldest day of inbox_event that is older than keep (at least 7 days) and has no event that is unprocessed, or quarantined with an open alert. Answers the day; null when there is none.';
COMMENT ON FUNCTION alert_prune IS 'Removes episodes that resolved longer ago than keep (at least 30 days), with their history and notifications. Answers how many; less than batch when none is left.';
COMMENT ON FUNCTION mirror_change_prune IS 'Removes changes older than keep (at least 7 days). Answers how many.';
COMMENT ON FUNCTION circuit_breaker_event_prune IS 'Removes transitions older than keep (at least 30 days), but not the last one. Answers how many.';
COMMENT ON FUNCTION forecast_prune IS 'Removes snapshots older than keep (at least 1 hour), but not the last one of a UTC day. Answers how many.';

-- +goose Down
DROP FUNCTION forecast_prune(interval, integer);
DROP FUNCTION circuit_breaker_event_prune(interval, integer);
DROP FUNCTION mirror_change_prune(interval, integer);
DROP FUNCTION alert_prune(interval, integer);
DROP FUNCTION inbox_drop_day(interval);
DROP FUNCTION retention_cut(interval, interval);
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION refuse_change IS NULL;
DROP INDEX alert_resolved_idx;
DROP VIEW audit_retention;
DROP TABLE retention_event;
