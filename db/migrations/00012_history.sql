-- +goose Up

-- History stays as it was written. Privileges see to that where Dealbox has its roles
-- (db/roles.sql); triggers do everywhere, also where one role owns everything.

CREATE TRIGGER inbox_event_append_only BEFORE UPDATE OR DELETE ON inbox_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Episodes and notifications move on, but they do not vanish.
CREATE TRIGGER alert_no_delete BEFORE DELETE ON alert
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_no_truncate BEFORE TRUNCATE ON alert
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER notification_no_delete BEFORE DELETE ON notification
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER notification_no_truncate BEFORE TRUNCATE ON notification
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A TRUNCATE fires the triggers of the very table that it names, so each partition has
-- its own. Partitions get the row trigger from their parent.
CREATE TRIGGER inbox_event_no_truncate BEFORE TRUNCATE ON inbox_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- +goose StatementBegin
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'public.inbox_event'::regclass LOOP
        EXECUTE format('CREATE TRIGGER inbox_event_no_truncate BEFORE TRUNCATE ON %s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change()', part);
    END LOOP;
END $$;
-- +goose StatementEnd

-- As in 00001, with that trigger, and with the caller's temporary tables out of the way.
-- ATTACH takes a lock that neither a SELECT nor an INSERT waits for.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION inbox_make_partitions(days_ahead integer) RETURNS integer
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

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION inbox_make_partitions(days_ahead integer) RETURNS integer
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
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'public.inbox_event'::regclass LOOP
        EXECUTE format('DROP TRIGGER inbox_event_no_truncate ON %s', part);
    END LOOP;
END $$;
-- +goose StatementEnd
DROP TRIGGER inbox_event_no_truncate ON inbox_event;
DROP TRIGGER notification_no_truncate ON notification;
DROP TRIGGER notification_no_delete ON notification;
DROP TRIGGER alert_no_truncate ON alert;
DROP TRIGGER alert_no_delete ON alert;
DROP TRIGGER inbox_event_append_only ON inbox_event;
