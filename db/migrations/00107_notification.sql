-- +goose Up

CREATE TABLE notification (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id        bigint NOT NULL,
    channel         text NOT NULL,
    receiver        text NOT NULL DEFAULT '',
    sequence        integer NOT NULL,
    reason          text NOT NULL CHECK (reason IN ('first', 'escalated', 'reminder', 'resolved')),
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed', 'suppressed')),
    suppressed_by   text CHECK (suppressed_by IN ('silence', 'inhibition', 'acknowledged', 'resolved', 'never_sent', 'unconfigured')),
    members         bigint NOT NULL DEFAULT 0,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz,
    sent_at         timestamptz,
    failed_at       timestamptz,
    suppressed_at   timestamptz,
    UNIQUE (alert_id, channel, receiver, sequence),
    CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CHECK ((status = 'failed') = (failed_at IS NOT NULL)),
    CONSTRAINT notification_suppressed_check CHECK ((status = 'suppressed') = (suppressed_at IS NOT NULL)
                                                AND (status = 'suppressed') = (suppressed_by IS NOT NULL))
);
-- One index for each question of the health page: the backlog, recent failures, the last one sent.
CREATE INDEX notification_pending_idx ON notification (created_at) WHERE status = 'pending';
CREATE INDEX notification_failed_idx ON notification (failed_at) WHERE status = 'failed';
CREATE INDEX notification_sent_idx ON notification (sent_at) WHERE status = 'sent';
-- Whether a channel that fails has sent anything since; other channels send meanwhile.
CREATE INDEX notification_channel_sent_idx ON notification (channel, sent_at) WHERE status = 'sent';
-- A notification changes, but it does not vanish.
CREATE TRIGGER notification_no_delete BEFORE DELETE ON notification
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER notification_no_truncate BEFORE TRUNCATE ON notification
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE notification IS 'The outbox: one row for each notification of an episode to a receiver on a channel. The package notify inserts it, with its job, in the transaction that raises or resolves the alert, and updates it with each attempt.';
COMMENT ON COLUMN notification.id IS 'The receiver of a webhook sees it as the header Webhook-Id: ntf_<id>.';
COMMENT ON COLUMN notification.alert_id IS 'The episode (alert.id).';
COMMENT ON COLUMN notification.channel IS 'webhook or email.';
COMMENT ON COLUMN notification.receiver IS 'Address of the mailbox; empty for the webhook.';
COMMENT ON COLUMN notification.sequence IS 'Number of the notification among those of its episode, channel and receiver, from 1. They are sent in this order.';
COMMENT ON COLUMN notification.reason IS 'Why it is sent: first, escalated, reminder or resolved. The first of an episode to a receiver is always first.';
COMMENT ON COLUMN notification.status IS 'pending: waits for an attempt; sent; failed: given up; suppressed: not to be sent, because of suppressed_by.';
COMMENT ON COLUMN notification.suppressed_by IS 'Why it is not sent: silence; inhibition: the episode that is its cause is open; acknowledged or resolved: it is no longer needed; never_sent: the end of an episode of which nothing was sent; unconfigured: the mailbox is no longer in the settings. Null unless suppressed.';
COMMENT ON COLUMN notification.members IS 'Of a group: how many members the episode had when this was sent or failed for good (alert.members). 0 until then, and for every other rule.';
COMMENT ON COLUMN notification.attempts IS 'Attempts that started, also those whose process died.';
COMMENT ON COLUMN notification.last_error IS 'Why the last failed attempt failed; null when there is none, and when sent. Never contains the channel''s path, query or secret.';
COMMENT ON COLUMN notification.created_at IS 'When it was requested.';
COMMENT ON COLUMN notification.next_attempt_at IS 'When the next attempt is due: the first notice of an episode waits, so that a burst is one notice, and a failed attempt is repeated. Null when it is due at once, and when no attempt follows.';
COMMENT ON COLUMN notification.sent_at IS 'When a receiver took it; null unless sent.';
COMMENT ON COLUMN notification.failed_at IS 'When it was given up; null unless failed.';
COMMENT ON COLUMN notification.suppressed_at IS 'When it was suppressed; null unless suppressed.';
