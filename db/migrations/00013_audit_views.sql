-- +goose Up

-- What auditors read, with the rights of the views' owner: the auditor role has no table.
-- docs/sql-audit.md answers questions with them. Columns may be added, never changed.

CREATE VIEW audit_alert AS
SELECT e.alert_id, e.id AS event_id, e.at, e.kind, e.level, e.actor, e.reason, e.details->>'message' AS message, e.details,
       a.rule, a.subject, a.status, a.occurrences, a.first_seen, a.last_seen, a.resolved_at
FROM alert_event e
LEFT JOIN alert a ON a.id = e.alert_id;
COMMENT ON VIEW audit_alert IS 'The history of alerts: one row for each thing that happened to an episode, beside the episode as it is now. The order is that of event_id.';
COMMENT ON COLUMN audit_alert.alert_id IS 'The episode: from the first time that a rule fires for a subject until it resolves.';
COMMENT ON COLUMN audit_alert.kind IS 'What happened: raised, repeated (at most one row a minute), escalated, acknowledged, silenced, suppressed, released, resolved, notified, notification_failed.';
COMMENT ON COLUMN audit_alert.level IS 'The level of the episode after this.';
COMMENT ON COLUMN audit_alert.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN audit_alert.status IS 'Of the episode, now.';
COMMENT ON COLUMN audit_alert.occurrences IS 'How often the rule fired in this episode until now.';

CREATE VIEW audit_notification AS
SELECT n.id AS notification_id, n.alert_id, a.rule, a.subject, a.level, n.channel, n.reason, n.sequence, n.status, n.attempts,
       n.last_error, n.created_at, n.next_attempt_at, n.sent_at, n.failed_at, n.suppressed_by, n.suppressed_at, n.digest_id
FROM notification n
LEFT JOIN alert a ON a.id = n.alert_id;
COMMENT ON VIEW audit_notification IS 'Who was told: one row for each notification of an episode on a channel.';
COMMENT ON COLUMN audit_notification.notification_id IS 'The receiver sees it as the header Webhook-Id: ntf_<notification_id>.';
COMMENT ON COLUMN audit_notification.sequence IS 'Counts the notifications of an episode on a channel, from 1.';
COMMENT ON COLUMN audit_notification.last_error IS 'Of the last attempt that failed; null when sent.';
COMMENT ON COLUMN audit_notification.suppressed_by IS 'Why it was not sent: storm (a digest tells of it), silence, inhibition (another episode explains it), '
    'acknowledged or resolved (a reminder that is not needed any more), untold (the end of an episode whose beginning was never sent).';
COMMENT ON COLUMN audit_notification.digest_id IS 'Of one suppressed by a storm: the notification_id of the digest that tells of it.';

CREATE VIEW audit_silence AS
SELECT id AS silence_id, rule, subject, author, comment, created_at, expires_at, ended_at, ended_by FROM silence;
COMMENT ON VIEW audit_silence IS 'What operators did not want to hear of, until when and why. Episodes are kept all the same.';
COMMENT ON COLUMN audit_silence.subject IS 'Null is every subject of the rule.';
COMMENT ON COLUMN audit_silence.ended_at IS 'When somebody ended it early; null when it ran until expires_at.';

CREATE VIEW audit_breaker AS
SELECT b.id AS event_id, b.name, b.at, lead(b.at) OVER following AS until, b.from_state, b.to_state, b.failure_count, b.actor, b.reason
FROM circuit_breaker_event b
WINDOW following AS (PARTITION BY b.name ORDER BY b.id);
COMMENT ON VIEW audit_breaker IS 'Every transition of the breaker in front of Strapi, and until when its state lasted. While it is not closed, Strapi is not asked.';
COMMENT ON COLUMN audit_breaker.until IS 'When the next transition came; null: it is in this state now.';
COMMENT ON COLUMN audit_breaker.from_state IS 'Equal to to_state when an operator held or reset the state, or another replica took a probe over.';
COMMENT ON COLUMN audit_breaker.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';

CREATE VIEW audit_event AS
SELECT e.id AS event_id, e.received_on, e.received_at, e.scheme, e.event, e.uid, e.document_id, e.locale, e.sent_at, e.status,
       CASE e.status
           WHEN 'quarantined' THEN e.quarantine_reason
           WHEN 'ignored' THEN 'an event or a type that Dealbox does not process'
           WHEN 'dead' THEN s.last_error
           WHEN 'pending' THEN coalesce(s.last_error, 'waits for its turn')
       END AS why,
       CASE WHEN e.status IN ('dead', 'pending') THEN s.failures END AS failures,
       octet_length(e.body) AS body_bytes, encode(sha256(e.body), 'hex') AS body_sha256
FROM inbox_event_status e
LEFT JOIN entity_sync s ON e.seq IS NOT NULL AND s.uid = e.uid AND s.document_id = e.document_id AND s.locale = e.locale;
COMMENT ON VIEW audit_event IS 'Every authentic webhook, once a UTC day, and what became of it. Name received_on in a condition: only those days are read.';
COMMENT ON COLUMN audit_event.received_on IS 'The UTC day; the table is partitioned by it.';
COMMENT ON COLUMN audit_event.scheme IS 'What authenticated it: standard, timestamped, strapi or token.';
COMMENT ON COLUMN audit_event.sent_at IS 'When Strapi says that it sent it.';
COMMENT ON COLUMN audit_event.status IS 'processed: the mirror reflects it; pending; dead: given up until somebody replays it; ignored; quarantined: it could not be read.';
COMMENT ON COLUMN audit_event.why IS 'Why it is not processed; null when it is.';
COMMENT ON COLUMN audit_event.body_sha256 IS 'Of the raw bytes, to compare with a copy. The bytes themselves are not for auditors.';

-- +goose Down
DROP VIEW audit_event;
DROP VIEW audit_breaker;
DROP VIEW audit_silence;
DROP VIEW audit_notification;
DROP VIEW audit_alert;
