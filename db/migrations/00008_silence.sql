-- +goose Up

CREATE TABLE silence (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule       text NOT NULL,
    subject    text,
    author     text NOT NULL,
    comment    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    ended_by   text,
    CHECK (expires_at > created_at),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX silence_open_idx ON silence (expires_at) WHERE ended_at IS NULL;
COMMENT ON TABLE silence IS 'What an operator does not want to hear of for a while. Episodes are kept; their notifications are not sent.';
COMMENT ON COLUMN silence.rule IS 'The rule that is silenced; * is every rule.';
COMMENT ON COLUMN silence.subject IS 'Null is every subject of the rule; an empty text is the rule that has none.';
COMMENT ON COLUMN silence.author IS 'Who made it: cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN silence.ended_at IS 'When somebody ended it early; null when it runs until expires_at.';

ALTER TABLE alert
    ADD COLUMN silence_id   bigint,
    ADD COLUMN inhibitor_id bigint,
    ADD COLUMN notified_at  timestamptz;
COMMENT ON COLUMN alert.silence_id IS 'While suppressed: the silence that mutes it.';
COMMENT ON COLUMN alert.inhibitor_id IS 'While suppressed: the episode that explains this one and is told in its place.';
COMMENT ON COLUMN alert.notified_at IS 'When a notification of it was last asked for. Reminders count from here.';
UPDATE alert SET notified_at = last_seen WHERE resolved_at IS NULL;
-- The minute's look at open episodes: which are due for a reminder, which are muted.
CREATE INDEX alert_reminder_idx ON alert (notified_at) WHERE status = 'firing';
CREATE INDEX alert_suppressed_idx ON alert (id) WHERE status = 'suppressed';

-- Not valid: it only adds a kind, so no row that is there can break it.
ALTER TABLE alert_event
    DROP CONSTRAINT alert_event_kind_check,
    ADD CONSTRAINT alert_event_kind_check CHECK (kind IN ('raised', 'repeated', 'escalated', 'acknowledged', 'silenced', 'released',
                                                          'resolved', 'notified', 'notification_failed', 'suppressed')) NOT VALID; -- history keeps its rows
COMMENT ON COLUMN alert_event.kind IS 'repeated is recorded at most once a minute an episode; alert.occurrences counts all of them.';
COMMENT ON COLUMN alert_event.kind IS 'repeated is recorded at most once a minute an episode; alert.occurrences counts all of them. '
    'silenced and suppressed: not told, because of a silence or for the reason given; released: what muted it is over.';

-- +goose Down
ALTER TABLE alert_event
    DROP CONSTRAINT alert_event_kind_check,
    ADD CONSTRAINT alert_event_kind_check CHECK (kind IN ('raised', 'repeated', 'escalated', 'acknowledged', 'silenced',
                                                          'resolved', 'notified', 'notification_failed', 'suppressed')) NOT VALID; -- history keeps its rows
COMMENT ON COLUMN alert_event.kind IS 'repeated is recorded at most once a minute an episode; alert.occurrences counts all of them.';
DROP INDEX alert_suppressed_idx;
ALTER TABLE alert DROP COLUMN silence_id, DROP COLUMN inhibitor_id, DROP COLUMN notified_at;
DROP TABLE silence;
