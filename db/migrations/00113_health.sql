-- +goose Up

-- Documents beside events: one can wait or be dead that no event names, after the first load, a
-- reconciliation or a replay.
CREATE OR REPLACE VIEW inbox_ledger AS
SELECT c.received,
       (c.received - c.ignored - c.quarantined - o.pending - o.dead)::bigint AS processed,
       o.pending, o.dead, c.ignored, c.quarantined, o.oldest_pending_since, o.pending_documents, o.dead_documents
FROM (SELECT coalesce(sum(received), 0)::bigint AS received,
             coalesce(sum(ignored), 0)::bigint AS ignored,
             coalesce(sum(quarantined), 0)::bigint AS quarantined
      FROM inbox_counter) c,
     (SELECT coalesce(sum(events - events_done) FILTER (WHERE state <> 'dead'), 0)::bigint AS pending,
             coalesce(sum(events - events_done) FILTER (WHERE state = 'dead'), 0)::bigint AS dead,
             min(pending_since) FILTER (WHERE state <> 'dead') AS oldest_pending_since,
             count(*) FILTER (WHERE state <> 'dead') AS pending_documents,
             count(*) FILTER (WHERE state = 'dead') AS dead_documents
      FROM entity_sync WHERE done_seq < want_seq) o;
COMMENT ON COLUMN inbox_ledger.pending_documents IS 'Documents that wait for a refresh, whether or not an event requested it.';
COMMENT ON COLUMN inbox_ledger.dead_documents IS 'Documents that are dead letters, whether or not an event names them.';

CREATE TABLE operator_action (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor   text NOT NULL CHECK (actor <> ''),
    action  text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE TRIGGER operator_action_append_only BEFORE UPDATE OR DELETE ON operator_action
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER operator_action_no_truncate BEFORE TRUNCATE ON operator_action
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE operator_action IS 'Append-only: what operators did that no other history names: replays, requested reconciliations and forecasts, test alerts. Inserted in the transaction of the action where it has one. Never removed.';
COMMENT ON COLUMN operator_action.id IS 'The order of the actions.';
COMMENT ON COLUMN operator_action.at IS 'When it was done, by the database''s clock.';
COMMENT ON COLUMN operator_action.actor IS 'Who did it: cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN operator_action.action IS 'replay, sync, allow_deletes, forecast_run or test_alert.';
COMMENT ON COLUMN operator_action.details IS 'What was chosen and what it led to, a JSON object.';

CREATE VIEW audit_operator AS
SELECT o.at, o.actor, o.action, '' AS subject, '' AS comment, o.details FROM operator_action o
UNION ALL
SELECT e.at, e.actor, CASE e.kind WHEN 'resolved' THEN 'resolve' WHEN 'acknowledged' THEN 'acknowledge' ELSE e.kind END,
       a.rule || CASE WHEN a.subject = '' THEN '' ELSE ' ' || a.subject END, e.reason, jsonb_build_object('alert_id', e.alert_id::text)
FROM alert_event e JOIN alert a ON a.id = e.alert_id WHERE e.kind IN ('acknowledged', 'resolved') AND e.actor <> 'dealbox'
UNION ALL
SELECT s.created_at, s.author, 'silence', s.rule || coalesce(' ' || s.subject, ''), s.comment,
       jsonb_build_object('silence_id', s.id::text, 'expires_at', s.expires_at)
FROM silence s
UNION ALL
SELECT s.ended_at, s.ended_by, 'end_silence', s.rule || coalesce(' ' || s.subject, ''), '', jsonb_build_object('silence_id', s.id::text)
FROM silence s WHERE s.ended_at IS NOT NULL
UNION ALL
SELECT b.at, b.actor, 'breaker', b.name, b.reason, jsonb_build_object('from_state', b.from_state, 'to_state', b.to_state)
FROM circuit_breaker_event b WHERE b.actor <> 'dealbox';
COMMENT ON VIEW audit_operator IS 'Every action of an operator, from all tables that record one. Order it by at.';
COMMENT ON COLUMN audit_operator.at IS 'When it was done, by the database''s clock.';
COMMENT ON COLUMN audit_operator.actor IS 'Who did it: cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN audit_operator.action IS 'replay, sync, allow_deletes, forecast_run, test_alert, acknowledge, resolve, silence, end_silence or breaker.';
COMMENT ON COLUMN audit_operator.subject IS 'The rule and the subject of the alert or silence, or the breaker; empty for the others.';
COMMENT ON COLUMN audit_operator.comment IS 'Why, in the operator''s words; empty when none were given.';
COMMENT ON COLUMN audit_operator.details IS 'What was chosen and what it led to, a JSON object.';
