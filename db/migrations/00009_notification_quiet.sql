-- +goose Up

ALTER TABLE notification
    DROP CONSTRAINT notification_reason_check,
    ADD CONSTRAINT notification_reason_check CHECK (reason IN ('first', 'escalated', 'reminder', 'resolved', 'digest')) NOT VALID,
    DROP CONSTRAINT notification_status_check,
    ADD CONSTRAINT notification_status_check CHECK (status IN ('pending', 'sent', 'failed', 'suppressed')) NOT VALID,
    ADD COLUMN suppressed_by text CHECK (suppressed_by IN ('storm', 'silence', 'inhibition', 'acknowledged', 'resolved', 'untold')),
    ADD COLUMN suppressed_at timestamptz,
    ADD COLUMN digest_id     bigint,
    ADD CONSTRAINT notification_suppressed_check CHECK ((status = 'suppressed') = (suppressed_at IS NOT NULL)
                                                    AND (status = 'suppressed') = (suppressed_by IS NOT NULL)) NOT VALID;
-- What the next digest tells of, and that there is one digest under way a channel.
CREATE INDEX notification_storm_idx ON notification (channel, id) WHERE suppressed_by = 'storm' AND digest_id IS NULL;
CREATE UNIQUE INDEX notification_digest_idx ON notification (channel) WHERE reason = 'digest' AND status = 'pending';
CREATE INDEX notification_digested_idx ON notification (digest_id) WHERE digest_id IS NOT NULL;
COMMENT ON COLUMN notification.suppressed_by IS 'Why it was not sent: storm (a digest tells of it), silence, inhibition (another episode explains it), '
    'acknowledged or resolved (a reminder that is not needed any more), untold (the end of an episode whose beginning was never sent).';
COMMENT ON COLUMN notification.digest_id IS 'Of one suppressed by a storm: the notification (reason digest) that tells of it with the others.';
COMMENT ON COLUMN notification.alert_id IS 'The episode; of a digest the worst of those that it tells of.';

CREATE TABLE notification_rate (
    channel text PRIMARY KEY,
    minute  timestamptz NOT NULL,
    sent    integer NOT NULL
);
COMMENT ON TABLE notification_rate IS 'How many notifications each channel was given in the minute that it was last given one, over all replicas.';

-- +goose Down
DROP TABLE notification_rate;
DROP INDEX notification_digest_idx;
DELETE FROM notification WHERE status = 'suppressed' OR reason = 'digest';
ALTER TABLE notification
    DROP COLUMN suppressed_by, DROP COLUMN suppressed_at, DROP COLUMN digest_id,
    DROP CONSTRAINT notification_reason_check,
    ADD CONSTRAINT notification_reason_check CHECK (reason IN ('first', 'escalated', 'reminder', 'resolved')),
    DROP CONSTRAINT notification_status_check,
    ADD CONSTRAINT notification_status_check CHECK (status IN ('pending', 'sent', 'failed'));
COMMENT ON COLUMN notification.alert_id IS NULL;
