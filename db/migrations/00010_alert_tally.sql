-- +goose Up

-- Counting a million episodes takes a tenth of a second, and the list, the health
-- page and every scrape ask for it. So changes are written down as they happen and
-- folded once a minute. They are appended, never updated: a counter row would make
-- every transaction that raises an alert wait for every other.
CREATE TABLE alert_tally (
    rule     text NOT NULL,
    level    text NOT NULL,
    status   text NOT NULL,
    episodes bigint NOT NULL
);
COMMENT ON TABLE alert_tally IS 'Episodes kept, by rule, level and status: the sum of episodes. Kept by triggers on alert.';

CREATE TABLE alert_hour (
    hour         timestamptz NOT NULL,
    rule         text NOT NULL,
    level        text NOT NULL,
    raised       bigint NOT NULL DEFAULT 0,
    resolved     bigint NOT NULL DEFAULT 0,
    open_seconds float8 NOT NULL DEFAULT 0,
    open_longest float8 NOT NULL DEFAULT 0,
    sent         bigint NOT NULL DEFAULT 0,
    failed       bigint NOT NULL DEFAULT 0,
    suppressed   bigint NOT NULL DEFAULT 0
);
CREATE INDEX alert_hour_idx ON alert_hour (hour);
COMMENT ON TABLE alert_hour IS 'What happened in each hour (UTC), by rule and level: the sums. Kept by a trigger on alert_event.';
COMMENT ON COLUMN alert_hour.open_seconds IS 'Of the episodes that were resolved in this hour: how long they were open, together.';
COMMENT ON COLUMN alert_hour.open_longest IS 'The longest of them, in seconds.';

-- +goose StatementBegin
CREATE FUNCTION alert_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO alert_tally VALUES (OLD.rule, OLD.level, OLD.status, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO alert_tally VALUES (NEW.rule, NEW.level, NEW.status, 1);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER alert_count AFTER INSERT OR DELETE ON alert FOR EACH ROW EXECUTE FUNCTION alert_count();
-- A repeat, which is frequent, changes neither.
CREATE TRIGGER alert_recount AFTER UPDATE ON alert FOR EACH ROW
    WHEN (OLD.level <> NEW.level OR OLD.status <> NEW.status OR OLD.rule <> NEW.rule) EXECUTE FUNCTION alert_count();

-- +goose StatementBegin
CREATE FUNCTION alert_event_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seconds float8 := CASE WHEN NEW.kind = 'resolved' THEN coalesce((NEW.details->>'seconds')::float8, 0) ELSE 0 END;
BEGIN
    INSERT INTO alert_hour (hour, rule, level, raised, resolved, open_seconds, open_longest, sent, failed, suppressed)
    SELECT date_trunc('hour', NEW.at, 'UTC'), a.rule, NEW.level, (NEW.kind = 'raised')::int, (NEW.kind = 'resolved')::int,
           seconds, seconds, (NEW.kind = 'notified')::int, (NEW.kind = 'notification_failed')::int,
           (NEW.kind IN ('suppressed', 'silenced'))::int
    FROM alert a WHERE a.id = NEW.alert_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER alert_event_count AFTER INSERT ON alert_event FOR EACH ROW
    WHEN (NEW.kind IN ('raised', 'resolved', 'notified', 'notification_failed', 'suppressed', 'silenced'))
    EXECUTE FUNCTION alert_event_count();

INSERT INTO alert_tally SELECT rule, level, status, count(*) FROM alert GROUP BY rule, level, status;
INSERT INTO alert_hour (hour, rule, level, raised, resolved, open_seconds, open_longest, sent, failed)
SELECT date_trunc('hour', e.at, 'UTC'), a.rule, e.level, count(*) FILTER (WHERE e.kind = 'raised'),
       count(*) FILTER (WHERE e.kind = 'resolved'), coalesce(sum((e.details->>'seconds')::float8) FILTER (WHERE e.kind = 'resolved'), 0),
       coalesce(max((e.details->>'seconds')::float8) FILTER (WHERE e.kind = 'resolved'), 0),
       count(*) FILTER (WHERE e.kind = 'notified'), count(*) FILTER (WHERE e.kind = 'notification_failed')
FROM alert_event e JOIN alert a ON a.id = e.alert_id
WHERE e.kind IN ('raised', 'resolved', 'notified', 'notification_failed')
GROUP BY 1, 2, 3;

-- A list with any filter reads from the newest on, and never past rows that its
-- filter leaves out: one range for each status and level.
CREATE INDEX alert_list_idx ON alert (status, level, last_seen DESC, id DESC);
CREATE INDEX alert_rule_idx ON alert (rule, status, level, last_seen DESC, id DESC);
DROP INDEX alert_last_seen_idx;

-- +goose Down
CREATE INDEX alert_last_seen_idx ON alert (last_seen DESC, id DESC);
DROP INDEX alert_rule_idx;
DROP INDEX alert_list_idx;
DROP TRIGGER alert_event_count ON alert_event;
DROP TRIGGER alert_recount ON alert;
DROP TRIGGER alert_count ON alert;
DROP FUNCTION alert_event_count();
DROP FUNCTION alert_count();
DROP TABLE alert_hour;
DROP TABLE alert_tally;
