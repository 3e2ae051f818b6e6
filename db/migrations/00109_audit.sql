-- +goose Up

-- Auditors read these views with the rights of the views' owner: the auditor role has no table.
-- docs/sql-audit.md answers questions with them. Columns may be added, never changed.

CREATE VIEW audit_alert AS
SELECT e.alert_id, e.id AS event_id, e.at, e.kind, e.level, e.actor, e.reason, e.details->>'message' AS message, e.details,
       a.rule, a.subject, a.status, a.occurrences, a.first_seen, a.last_seen, a.resolved_at, e.details->>'member' AS member, a.members
FROM alert_event e
LEFT JOIN alert a ON a.id = e.alert_id;
COMMENT ON VIEW audit_alert IS 'The history of alerts: one row for each thing that happened to an episode, beside the episode as it is now.';
COMMENT ON COLUMN audit_alert.alert_id IS 'The episode: from the first time that a rule fires for a subject until it resolves.';
COMMENT ON COLUMN audit_alert.event_id IS 'The order of what happened.';
COMMENT ON COLUMN audit_alert.at IS 'When it happened, by the database''s clock.';
COMMENT ON COLUMN audit_alert.kind IS 'What happened: raised; repeated (at most one row a minute for each episode); escalated; joined and left: a member of a group, with its reason; acknowledged; silenced and suppressed: muted, by a silence or for the given reason; released: nothing mutes it any more; resolved; notified; notification_failed.';
COMMENT ON COLUMN audit_alert.level IS 'Level of the episode after this: info, warning, error or critical.';
COMMENT ON COLUMN audit_alert.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN audit_alert.reason IS 'The operator''s comment, the channel of a notification, why a member joined or left, or why Dealbox did it; empty when there is nothing to say.';
COMMENT ON COLUMN audit_alert.message IS 'Text of the alert at this moment; null where the kind has none.';
COMMENT ON COLUMN audit_alert.details IS 'Values of this moment, a JSON object.';
COMMENT ON COLUMN audit_alert.rule IS 'Name of the rule that fired.';
COMMENT ON COLUMN audit_alert.subject IS 'What the rule fired about; empty for a rule without subjects.';
COMMENT ON COLUMN audit_alert.status IS 'Of the episode, now: firing, acknowledged, suppressed or resolved.';
COMMENT ON COLUMN audit_alert.occurrences IS 'How often the rule fired in this episode until now.';
COMMENT ON COLUMN audit_alert.first_seen IS 'When the rule first fired in this episode.';
COMMENT ON COLUMN audit_alert.last_seen IS 'When the rule last fired in this episode until now.';
COMMENT ON COLUMN audit_alert.resolved_at IS 'When the episode ended; null while it is open.';
COMMENT ON COLUMN audit_alert.member IS 'Of joined and left: the member, for example a document; null for every other kind.';
COMMENT ON COLUMN audit_alert.members IS 'How many members the episode has now; 0 for a rule that does not group.';

CREATE VIEW audit_notification AS
SELECT n.id AS notification_id, n.alert_id, a.rule, a.subject, a.level, n.channel, n.reason, n.sequence, n.status, n.attempts,
       n.last_error, n.created_at, n.next_attempt_at, n.sent_at, n.failed_at, n.suppressed_by, n.suppressed_at, n.receiver, n.members
FROM notification n
LEFT JOIN alert a ON a.id = n.alert_id;
COMMENT ON VIEW audit_notification IS 'Who was notified: one row for each notification of an episode to a receiver on a channel.';
COMMENT ON COLUMN audit_notification.notification_id IS 'The receiver of a webhook sees it as the header Webhook-Id: ntf_<notification_id>.';
COMMENT ON COLUMN audit_notification.alert_id IS 'The episode.';
COMMENT ON COLUMN audit_notification.rule IS 'Name of the rule of the episode.';
COMMENT ON COLUMN audit_notification.subject IS 'What the rule fired about; empty for a rule without subjects.';
COMMENT ON COLUMN audit_notification.level IS 'Of the episode, now.';
COMMENT ON COLUMN audit_notification.channel IS 'webhook or email.';
COMMENT ON COLUMN audit_notification.reason IS 'Why it is sent: first, escalated, reminder or resolved.';
COMMENT ON COLUMN audit_notification.sequence IS 'Number of the notification among those of its episode, channel and receiver, from 1.';
COMMENT ON COLUMN audit_notification.status IS 'pending: waits for an attempt; sent: a receiver took it; failed: given up; suppressed: not to be sent, because of suppressed_by.';
COMMENT ON COLUMN audit_notification.attempts IS 'Attempts that started, also those whose process died.';
COMMENT ON COLUMN audit_notification.last_error IS 'Why the last failed attempt failed; null when there is none, and when sent.';
COMMENT ON COLUMN audit_notification.created_at IS 'When it was requested.';
COMMENT ON COLUMN audit_notification.next_attempt_at IS 'When the next attempt is due. Null when it is due at once, and when no attempt follows.';
COMMENT ON COLUMN audit_notification.sent_at IS 'When a receiver took it; null unless sent.';
COMMENT ON COLUMN audit_notification.failed_at IS 'When it was given up; null unless failed.';
COMMENT ON COLUMN audit_notification.suppressed_by IS 'Why it is not sent: silence; inhibition: the episode that is its cause is open; acknowledged or resolved: it is no longer needed; never_sent: the end of an episode of which nothing was sent; unconfigured: the mailbox is no longer in the settings. Null unless suppressed.';
COMMENT ON COLUMN audit_notification.suppressed_at IS 'When it was suppressed; null unless suppressed.';
COMMENT ON COLUMN audit_notification.receiver IS 'Address of the mailbox; empty for the webhook.';
COMMENT ON COLUMN audit_notification.members IS 'Of a group: how many members the episode had when this was sent or failed for good; 0 until then, and for every other rule.';

CREATE VIEW audit_silence AS
SELECT id AS silence_id, rule, subject, author, comment, created_at, expires_at, ended_at, ended_by FROM silence;
COMMENT ON VIEW audit_silence IS 'What operators muted, until when and why. Episodes are recorded all the same.';
COMMENT ON COLUMN audit_silence.silence_id IS 'The silence''s id in the API.';
COMMENT ON COLUMN audit_silence.rule IS 'The rule that is muted; * is every rule.';
COMMENT ON COLUMN audit_silence.subject IS 'Null: every subject of the rule. Empty: the rule when it has no subject.';
COMMENT ON COLUMN audit_silence.author IS 'Who made it: cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN audit_silence.comment IS 'Why, in the author''s words.';
COMMENT ON COLUMN audit_silence.created_at IS 'When the silence began.';
COMMENT ON COLUMN audit_silence.expires_at IS 'When the silence ends by itself.';
COMMENT ON COLUMN audit_silence.ended_at IS 'When somebody ended it early; null when it runs until expires_at.';
COMMENT ON COLUMN audit_silence.ended_by IS 'Who ended it early: cli:<os user> or the name of an admin token. Null like ended_at.';

CREATE VIEW audit_breaker AS
SELECT b.id AS event_id, b.name, b.at, lead(b.at) OVER following AS until, b.from_state, b.to_state, b.failure_count, b.actor, b.reason
FROM circuit_breaker_event b
WINDOW following AS (PARTITION BY b.name ORDER BY b.id);
COMMENT ON VIEW audit_breaker IS 'Every transition of the breaker in front of Strapi, and until when its state lasted. While it is not closed, Dealbox sends Strapi nothing but probes.';
COMMENT ON COLUMN audit_breaker.event_id IS 'The order of the transitions.';
COMMENT ON COLUMN audit_breaker.name IS 'The breaker; today only strapi.';
COMMENT ON COLUMN audit_breaker.at IS 'When the transition was made.';
COMMENT ON COLUMN audit_breaker.until IS 'When the next transition was made; null: to_state is the state now.';
COMMENT ON COLUMN audit_breaker.from_state IS 'The state before. Equal to to_state when an operator held or reset the state, or another replica took over the lease of a dead prober.';
COMMENT ON COLUMN audit_breaker.to_state IS 'The state after: closed, open or half_open.';
COMMENT ON COLUMN audit_breaker.failure_count IS 'Consecutive failures after the transition; closing sets them to 0.';
COMMENT ON COLUMN audit_breaker.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN audit_breaker.reason IS 'Why: the failure that opened it, the outcome of the probe, or the operator''s comment.';

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
COMMENT ON VIEW audit_event IS 'Every authentic webhook, once a UTC day, and what became of it. Name received_on in a condition: then only those days are read.';
COMMENT ON COLUMN audit_event.event_id IS 'Event id that the webhook''s answer contains.';
COMMENT ON COLUMN audit_event.received_on IS 'The UTC day; the table is partitioned by it.';
COMMENT ON COLUMN audit_event.received_at IS 'When the webhook was stored, by the database''s clock.';
COMMENT ON COLUMN audit_event.scheme IS 'What authenticated the webhook: standard, timestamped, strapi or token.';
COMMENT ON COLUMN audit_event.event IS 'Strapi''s event, for example entry.update; null when the body does not name one.';
COMMENT ON COLUMN audit_event.uid IS 'Strapi''s content type; null when the body does not name one.';
COMMENT ON COLUMN audit_event.document_id IS 'Strapi''s documentId; null when the event is about no document, or the body does not name it.';
COMMENT ON COLUMN audit_event.locale IS 'Strapi''s locale; empty or null when the document has none.';
COMMENT ON COLUMN audit_event.sent_at IS 'When Strapi says that it sent the webhook; null when it does not say.';
COMMENT ON COLUMN audit_event.status IS 'processed: the mirror includes it; pending: its document waits; dead: given up until somebody replays it; ignored: an event or a type that Dealbox does not process; quarantined: it could not be read.';
COMMENT ON COLUMN audit_event.why IS 'Why it is not processed; null when it is.';
COMMENT ON COLUMN audit_event.failures IS 'Attempts in a row that failed because of its document; null unless pending or dead.';
COMMENT ON COLUMN audit_event.body_bytes IS 'Size of the raw body, in bytes.';
COMMENT ON COLUMN audit_event.body_sha256 IS 'SHA-256 of the raw body in hex, to compare with a copy. The body itself is not for auditors.';

CREATE VIEW audit_retention AS
SELECT id AS event_id, at, subject, removed, older_than, role, details FROM retention_event;
COMMENT ON VIEW audit_retention IS 'What retention removed, and when: one row for each batch or each day of events.';
COMMENT ON COLUMN audit_retention.event_id IS 'The order of the removals.';
COMMENT ON COLUMN audit_retention.at IS 'When it was removed.';
COMMENT ON COLUMN audit_retention.subject IS 'The table. alert stands for episodes with their history and notifications, reconciliation_run for runs with their differences.';
COMMENT ON COLUMN audit_retention.removed IS 'Number of rows of that table; details counts what went with them.';
COMMENT ON COLUMN audit_retention.older_than IS 'Every removed row was older than this.';
COMMENT ON COLUMN audit_retention.role IS 'The database role that requested it.';
COMMENT ON COLUMN audit_retention.details IS 'A JSON object: how many rows of other tables went with them; of events also their day.';
