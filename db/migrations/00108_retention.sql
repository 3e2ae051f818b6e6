-- +goose Up

-- The service's role deletes no history. It calls these functions of the owner. They remove only what is
-- older than a floor that the caller cannot lower, and record what they removed.
CREATE TABLE retention_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    subject    text NOT NULL CHECK (subject IN ('inbox_event', 'mirror_change', 'alert', 'circuit_breaker_event',
                                                'forecast', 'alert_hour', 'reconciliation_run')),
    removed    bigint NOT NULL,
    older_than timestamptz NOT NULL,
    role       text NOT NULL DEFAULT session_user,
    details    jsonb NOT NULL DEFAULT '{}'
);
CREATE TRIGGER retention_event_append_only BEFORE UPDATE OR DELETE ON retention_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER retention_event_no_truncate BEFORE TRUNCATE ON retention_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE retention_event IS 'Append-only: what retention removed, one row for each batch or each day of events. The functions below insert it.';
COMMENT ON COLUMN retention_event.id IS 'The order of the removals.';
COMMENT ON COLUMN retention_event.at IS 'When it was removed.';
COMMENT ON COLUMN retention_event.subject IS 'The table. alert stands for episodes with their history and notifications, reconciliation_run for runs with their differences.';
COMMENT ON COLUMN retention_event.removed IS 'Number of rows of that table.';
COMMENT ON COLUMN retention_event.older_than IS 'Every removed row was older than this.';
COMMENT ON COLUMN retention_event.role IS 'The database role that requested it.';
COMMENT ON COLUMN retention_event.details IS 'A JSON object. Of inbox_event: the day, and how many of its events were ignored or quarantined; of others: how many rows of other tables went with them.';

-- +goose StatementBegin
CREATE FUNCTION retention_cut(keep interval, floor interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF keep IS NULL OR now() - keep > now() - floor THEN
        RAISE EXCEPTION 'what is younger than % is never removed', floor USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN now() - keep;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION retention_cut IS 'Returns the time before which rows may be removed. Fails when keep is shorter than floor.';

-- Every INSERT and SELECT that comes after DROP waits for its lock. So DROP waits for at most a tenth of a
-- second: behind a long SELECT it fails, ingest goes on, and retention tries again later. The check for
-- unprocessed events comes before the lock; it stays true, because a processed event stays processed.
-- +goose StatementBegin
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
-- +goose StatementEnd
COMMENT ON FUNCTION inbox_drop_day IS 'Drops the oldest day of inbox_event that is older than keep (at least 7 days) and has no event that is unprocessed, or quarantined with an open alert. Returns the day; null when there is none.';

-- The rows with the lowest ids are the oldest, so it reads no more than these.
-- +goose StatementBegin
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
-- +goose StatementEnd
COMMENT ON FUNCTION mirror_change_prune IS 'Removes changes older than keep (at least 7 days), at most batch of them. Returns how many.';

-- The age of an episode is that of its history: the caller may write resolved_at, but no row of alert_event.
-- +goose StatementBegin
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
    DELETE FROM alert_member WHERE alert_id = ANY (ids);
    DELETE FROM alert WHERE id = ANY (ids);
    PERFORM set_config('dealbox.retention', 'off', true);
    INSERT INTO retention_event (subject, removed, older_than, details)
    VALUES ('alert', cardinality(ids), cut, jsonb_build_object('alert_event', history, 'notification', notifications));
    RETURN cardinality(ids);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION alert_prune IS 'Removes episodes that resolved longer ago than keep (at least 30 days), at most batch of them, with their history, members and notifications. Returns how many; fewer than batch when none is left.';

-- The last transition of each breaker stays: it says since when the state lasts.
-- +goose StatementBegin
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
-- +goose StatementEnd
COMMENT ON FUNCTION circuit_breaker_event_prune IS 'Removes transitions older than keep (at least 30 days), at most batch of them, but not the last one of a breaker. Returns how many.';

-- A snapshot is the last of its UTC day when the next one of its scope is of a later day. The latest
-- snapshot has no next one.
-- +goose StatementBegin
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
COMMENT ON FUNCTION forecast_prune IS 'Removes snapshots older than keep (at least 1 hour), at most batch of them, but not the last one of a UTC day. Returns how many.';

-- Runs are state, so their age is what the service writes. The last full run that was done stays: it says
-- what was compared, and when.
-- +goose StatementBegin
CREATE FUNCTION reconciliation_run_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '30 days');
    ids bigint[];
    differences bigint;
BEGIN
    ids := ARRAY(SELECT id FROM reconciliation_run WHERE finished_at < cut
                   AND id < (SELECT max(f.id) FROM reconciliation_run f WHERE f.kind = 'full' AND f.status = 'done')
                 ORDER BY id LIMIT batch FOR UPDATE SKIP LOCKED);
    IF ids = '{}' THEN
        RETURN 0;
    END IF;
    DELETE FROM reconciliation_difference WHERE run_id = ANY (ids);
    GET DIAGNOSTICS differences = ROW_COUNT;
    DELETE FROM reconciliation_run WHERE id = ANY (ids);
    INSERT INTO retention_event (subject, removed, older_than, details)
    VALUES ('reconciliation_run', cardinality(ids), cut, jsonb_build_object('reconciliation_difference', differences));
    RETURN cardinality(ids);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION reconciliation_run_prune IS 'Removes reconciliations that finished longer ago than keep (at least 30 days), at most batch of them, with their differences, but not the last full one that was done nor any after it. Returns how many; fewer than batch when none is left.';

-- A summary covers the last 31 days, in whole hours, whatever the settings say.
-- +goose StatementBegin
CREATE FUNCTION alert_hour_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := least(retention_cut(keep, '30 days'), now() - interval '32 days');
    removed integer;
BEGIN
    DELETE FROM alert_hour WHERE ctid = ANY (ARRAY(SELECT ctid FROM alert_hour WHERE hour < cut ORDER BY hour LIMIT batch));
    GET DIAGNOSTICS removed = ROW_COUNT;
    INSERT INTO retention_event (subject, removed, older_than) SELECT 'alert_hour', removed, cut WHERE removed > 0;
    RETURN removed;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION alert_hour_prune IS 'Removes hourly counts older than keep (at least 30 days), at most batch of them, but none of the last 32 days. Returns how many.';
