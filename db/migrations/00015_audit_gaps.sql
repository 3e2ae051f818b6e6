-- +goose Up

-- A silence that muted nothing is in no alert_event, so this table alone says who asked for
-- quiet. It changes once, when somebody ends it early.
CREATE TRIGGER silence_append_only BEFORE UPDATE ON silence FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL OR (OLD.id, OLD.rule, OLD.subject, OLD.author, OLD.comment, OLD.created_at, OLD.expires_at)
          IS DISTINCT FROM (NEW.id, NEW.rule, NEW.subject, NEW.author, NEW.comment, NEW.created_at, NEW.expires_at))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER silence_no_delete BEFORE DELETE ON silence
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER silence_no_truncate BEFORE TRUNCATE ON silence
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Of a channel that fails: whether it sent anything since. Others send meanwhile.
CREATE INDEX notification_channel_sent_idx ON notification (channel, sent_at) WHERE status = 'sent';

-- Not valid: it only adds subjects, so no row that is there can break it.
ALTER TABLE retention_event
    DROP CONSTRAINT retention_event_subject_check,
    ADD CONSTRAINT retention_event_subject_check CHECK (subject IN ('inbox_event', 'mirror_change', 'alert', 'circuit_breaker_event',
                                                                    'forecast', 'alert_hour', 'reconciliation_run')) NOT VALID;
COMMENT ON COLUMN retention_event.subject IS 'The table; alert stands for episodes with their history and notifications, reconciliation_run for runs with their differences.';

COMMENT ON COLUMN audit_notification.last_error IS 'Of the last attempt that failed; when sent, which receivers of the mail did not take it, and null when all did.';

-- +goose StatementBegin
-- Runs are state, so their age is what the service says. The last full one that was done stays:
-- it says what was compared, and when.
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

-- A summary looks back 31 days, in whole hours, whatever the settings say.
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
COMMENT ON FUNCTION reconciliation_run_prune IS 'Removes reconciliations that finished longer ago than keep (at least 30 days), with their differences, but not the last full one nor any after it. Answers how many; less than batch when none is left.';
COMMENT ON FUNCTION alert_hour_prune IS 'Removes hourly counts older than keep (at least 30 days), but none of the last 32 days. Answers how many.';

-- +goose Down
COMMENT ON COLUMN audit_notification.last_error IS 'Of the last attempt that failed; null when sent.';
DROP FUNCTION alert_hour_prune(interval, integer);
DROP FUNCTION reconciliation_run_prune(interval, integer);
COMMENT ON COLUMN retention_event.subject IS 'The table; alert stands for episodes with their history and notifications.';
ALTER TABLE retention_event
    DROP CONSTRAINT retention_event_subject_check,
    ADD CONSTRAINT retention_event_subject_check CHECK (subject IN ('inbox_event', 'mirror_change', 'alert', 'circuit_breaker_event', 'forecast')) NOT VALID; -- history keeps its rows
DROP INDEX notification_channel_sent_idx;
DROP TRIGGER silence_no_truncate ON silence;
DROP TRIGGER silence_no_delete ON silence;
DROP TRIGGER silence_append_only ON silence;
