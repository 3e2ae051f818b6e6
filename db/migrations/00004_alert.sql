-- +goose Up

CREATE TABLE alert (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text COLLATE "C" NOT NULL,
    rule        text NOT NULL,
    subject     text NOT NULL DEFAULT '',
    level       text NOT NULL CHECK (level IN ('info', 'warning', 'error', 'critical')),
    status      text NOT NULL DEFAULT 'firing' CHECK (status IN ('firing', 'acknowledged', 'resolved', 'suppressed')),
    message     text NOT NULL,
    details     jsonb NOT NULL DEFAULT '{}',
    occurrences bigint NOT NULL DEFAULT 1,
    first_seen  timestamptz NOT NULL,
    last_seen   timestamptz NOT NULL,
    resolved_at timestamptz,
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX alert_open_idx ON alert (fingerprint) WHERE resolved_at IS NULL;
CREATE INDEX alert_last_seen_idx ON alert (last_seen DESC, id DESC);
COMMENT ON TABLE alert IS 'One row an episode: from the first time that a rule fires for a subject until it resolves.';
COMMENT ON COLUMN alert.fingerprint IS 'v1:rule:subject; at most one open episode has it.';
COMMENT ON COLUMN alert.level IS 'The highest level of this episode; it only rises.';
COMMENT ON COLUMN alert.message IS 'Of the last time that the rule fired; alert_event keeps the earlier ones.';
COMMENT ON COLUMN alert.occurrences IS 'How often the rule fired in this episode. Repeats within a minute have no alert_event row.';

CREATE TABLE alert_event (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind     text NOT NULL CHECK (kind IN ('raised', 'repeated', 'escalated', 'acknowledged', 'silenced',
                                           'resolved', 'notified', 'notification_failed', 'suppressed')),
    level    text NOT NULL,
    actor    text NOT NULL,
    reason   text NOT NULL DEFAULT '',
    details  jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX alert_event_alert_idx ON alert_event (alert_id, id);
CREATE TRIGGER alert_event_append_only BEFORE UPDATE OR DELETE ON alert_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_event_no_truncate BEFORE TRUNCATE ON alert_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE alert_event IS 'Append-only history of every episode.';
COMMENT ON COLUMN alert_event.kind IS 'repeated is recorded at most once a minute an episode; alert.occurrences counts all of them.';
COMMENT ON COLUMN alert_event.level IS 'The level of the episode after this event.';
COMMENT ON COLUMN alert_event.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';

-- The outbox. A row and its job are written in the transaction that raised or resolved the alert.
CREATE TABLE notification (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id        bigint NOT NULL,
    channel         text NOT NULL,
    reason          text NOT NULL CHECK (reason IN ('first', 'escalated', 'reminder', 'resolved')),
    sequence        integer NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz,
    sent_at         timestamptz,
    failed_at       timestamptz,
    UNIQUE (alert_id, channel, sequence),
    CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CHECK ((status = 'failed') = (failed_at IS NOT NULL))
);
-- One for each question of the health page: the backlog, recent failures, the last one sent.
CREATE INDEX notification_pending_idx ON notification (created_at) WHERE status = 'pending';
CREATE INDEX notification_failed_idx ON notification (failed_at) WHERE status = 'failed';
CREATE INDEX notification_sent_idx ON notification (sent_at) WHERE status = 'sent';
COMMENT ON TABLE notification IS 'The outbox: one row for each notification of an episode on a channel.';
COMMENT ON COLUMN notification.reason IS 'Why it was sent. The first of an episode on a channel is always first.';
COMMENT ON COLUMN notification.sequence IS 'Counts the notifications of an episode on a channel, from 1. They are sent in this order.';
COMMENT ON COLUMN notification.attempts IS 'Counted when an attempt starts, so one that died is counted too.';
COMMENT ON COLUMN notification.last_error IS 'Of the last attempt that failed. Never holds the channel''s path, query or secret.';
COMMENT ON COLUMN notification.next_attempt_at IS 'After a failed attempt: when the next one is due.';

-- +goose Down
DROP TABLE notification;
DROP TABLE alert_event;
DROP TABLE alert;
