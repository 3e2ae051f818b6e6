-- +goose Up

CREATE TABLE alert (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint  text COLLATE "C" NOT NULL,
    rule         text NOT NULL,
    subject      text NOT NULL DEFAULT '',
    level        text NOT NULL CHECK (level IN ('info', 'warning', 'error', 'critical')),
    status       text NOT NULL DEFAULT 'firing' CHECK (status IN ('firing', 'acknowledged', 'resolved', 'suppressed')),
    silence_id   bigint,
    inhibitor_id bigint,
    message      text NOT NULL,
    details      jsonb NOT NULL DEFAULT '{}',
    occurrences  bigint NOT NULL DEFAULT 1,
    members      bigint NOT NULL DEFAULT 0,
    first_seen   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    notified_at  timestamptz,
    resolved_at  timestamptz,
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX alert_open_idx ON alert (fingerprint) WHERE resolved_at IS NULL;
-- A list with any filter reads from the newest row on, one range for each status and level, and never
-- past rows that its filter leaves out.
CREATE INDEX alert_list_idx ON alert (status, level, last_seen DESC, id DESC);
CREATE INDEX alert_rule_idx ON alert (rule, status, level, last_seen DESC, id DESC);
-- The review of each minute: open episodes that are due for a reminder, and muted ones.
CREATE INDEX alert_reminder_idx ON alert (notified_at) WHERE status = 'firing';
CREATE INDEX alert_suppressed_idx ON alert (id) WHERE status = 'suppressed';
-- Retention removes the oldest resolved episodes first.
CREATE INDEX alert_resolved_idx ON alert (resolved_at) WHERE resolved_at IS NOT NULL;
-- An episode changes, but it does not vanish.
CREATE TRIGGER alert_no_delete BEFORE DELETE ON alert
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_no_truncate BEFORE TRUNCATE ON alert
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE alert IS 'One row for each episode: from the first time that a rule fires for a subject until it resolves. Only the alerting package writes it, in the transaction of whatever happened.';
COMMENT ON COLUMN alert.id IS 'The alert''s id in the API, in notifications and in alert_event.';
COMMENT ON COLUMN alert.fingerprint IS 'v1:rule:subject. At most one open episode has it.';
COMMENT ON COLUMN alert.rule IS 'Name of the rule, for example breaker_opened.';
COMMENT ON COLUMN alert.subject IS 'What the rule fired about, for example a content type or a channel; empty for a rule without subjects.';
COMMENT ON COLUMN alert.level IS 'The highest level of this episode; it only rises.';
COMMENT ON COLUMN alert.status IS 'firing; acknowledged: an operator takes care of it; suppressed: muted by a silence or an inhibiting episode; resolved: over.';
COMMENT ON COLUMN alert.silence_id IS 'While suppressed: the silence that mutes it. Null when none does.';
COMMENT ON COLUMN alert.inhibitor_id IS 'While suppressed: the open episode that inhibits this one, because it is its cause. Null when none does.';
COMMENT ON COLUMN alert.message IS 'Text of the last time that the rule fired; alert_event keeps the earlier ones.';
COMMENT ON COLUMN alert.details IS 'Values of the last time that the rule fired, a JSON object.';
COMMENT ON COLUMN alert.occurrences IS 'How often the rule fired in this episode. alert_event has fewer rows: repeats within a minute have none.';
COMMENT ON COLUMN alert.members IS 'Of a rule that groups, such as event_dead_lettered: how many members the open episode has now (rows of alert_member). 0 for every other rule.';
COMMENT ON COLUMN alert.first_seen IS 'When the rule first fired in this episode.';
COMMENT ON COLUMN alert.last_seen IS 'When the rule last fired in this episode.';
COMMENT ON COLUMN alert.notified_at IS 'When a notification of the episode was last requested; reminders count from here. Null: never, because it is muted or its writer knows no channel.';
COMMENT ON COLUMN alert.resolved_at IS 'When the episode ended; null while it is open.';

CREATE TABLE alert_event (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind     text NOT NULL CHECK (kind IN ('raised', 'repeated', 'escalated', 'joined', 'left', 'acknowledged', 'silenced', 'released',
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
COMMENT ON TABLE alert_event IS 'Append-only history of every episode, inserted in the transaction of whatever happened.';
COMMENT ON COLUMN alert_event.id IS 'The order of what happened.';
COMMENT ON COLUMN alert_event.alert_id IS 'The episode (alert.id).';
COMMENT ON COLUMN alert_event.at IS 'When it happened, by the database''s clock.';
COMMENT ON COLUMN alert_event.kind IS 'raised; repeated (at most one row a minute for each episode); escalated; joined and left: a member of a group, with its reason; acknowledged; silenced and suppressed: muted, by a silence or for the given reason; released: nothing mutes it any more; resolved; notified; notification_failed.';
COMMENT ON COLUMN alert_event.level IS 'Level of the episode after this event.';
COMMENT ON COLUMN alert_event.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN alert_event.reason IS 'The operator''s comment, the channel of a notification, why a member joined or left, or why Dealbox did it; empty when there is nothing to say.';
COMMENT ON COLUMN alert_event.details IS 'Values of this moment, a JSON object: message, details and occurrences of the episode; from: the level before an escalation; members: of a group that is acknowledged; member and name: who joined or left; seconds: how long a resolved episode was open.';

CREATE TABLE alert_member (
    alert_id  bigint NOT NULL,
    member    text COLLATE "C" NOT NULL,
    name      text NOT NULL,
    reason    text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (alert_id, member)
);
-- The first members of an episode, which its message and its details name.
CREATE INDEX alert_member_joined_idx ON alert_member (alert_id, joined_at, member);
COMMENT ON TABLE alert_member IS 'The members of an episode of a rule that groups: one episode for all dead letters of a content type, with a row for each document. Only the alerting package writes it. A member that leaves is deleted; alert_event keeps that it joined and left.';
COMMENT ON COLUMN alert_member.alert_id IS 'The episode (alert.id).';
COMMENT ON COLUMN alert_member.member IS 'Key of the member: of a document its uid, documentId and locale.';
COMMENT ON COLUMN alert_member.name IS 'Name of the member for people, for example the deal''s; empty when it has none.';
COMMENT ON COLUMN alert_member.reason IS 'Why it joined, in the words of the last time.';
COMMENT ON COLUMN alert_member.joined_at IS 'When it joined the episode.';

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
-- A silence that muted nothing is in no alert_event, so this table alone names its author. A row changes
-- once, when somebody ends the silence early.
CREATE TRIGGER silence_append_only BEFORE UPDATE ON silence FOR EACH ROW
    WHEN (OLD.ended_at IS NOT NULL OR (OLD.id, OLD.rule, OLD.subject, OLD.author, OLD.comment, OLD.created_at, OLD.expires_at)
          IS DISTINCT FROM (NEW.id, NEW.rule, NEW.subject, NEW.author, NEW.comment, NEW.created_at, NEW.expires_at))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER silence_no_delete BEFORE DELETE ON silence
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER silence_no_truncate BEFORE TRUNCATE ON silence
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE silence IS 'What operators mute for a while. Episodes are recorded all the same; their notifications are not sent. Never removed.';
COMMENT ON COLUMN silence.id IS 'The silence''s id in the API.';
COMMENT ON COLUMN silence.rule IS 'The rule that is muted; * is every rule.';
COMMENT ON COLUMN silence.subject IS 'Null: every subject of the rule. Empty: the rule when it has no subject.';
COMMENT ON COLUMN silence.author IS 'Who made it: cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN silence.comment IS 'Why, in the author''s words.';
COMMENT ON COLUMN silence.created_at IS 'When the silence began.';
COMMENT ON COLUMN silence.expires_at IS 'When the silence ends by itself.';
COMMENT ON COLUMN silence.ended_at IS 'When somebody ended it early; null when it runs until expires_at.';
COMMENT ON COLUMN silence.ended_by IS 'Who ended it early: cli:<os user> or the name of an admin token. Null like ended_at.';

CREATE TABLE alert_sample (
    rule    text NOT NULL,
    subject text NOT NULL,
    bad     integer NOT NULL,
    good    integer NOT NULL,
    PRIMARY KEY (rule, subject),
    CHECK (bad = 0 OR good = 0)
);
COMMENT ON TABLE alert_sample IS 'For rules that are reviewed each minute: how many reviews in a row were bad, or good. The reviewing job writes it and deletes rows that it no longer needs.';
COMMENT ON COLUMN alert_sample.rule IS 'Name of the rule.';
COMMENT ON COLUMN alert_sample.subject IS 'Subject of the rule; empty when it has none.';
COMMENT ON COLUMN alert_sample.bad IS 'Reviews in a row in which the rule''s condition was true; 0 when the last one was good.';
COMMENT ON COLUMN alert_sample.good IS 'Reviews in a row in which the rule''s condition was false; 0 when the last one was bad.';

-- To count a million episodes takes a tenth of a second, and the list, the health page and every scrape
-- need the count. So triggers append each change here, and a job adds the rows up once a minute. They
-- append and never update: a counter's row would make every transaction that raises an alert wait for
-- every other.
CREATE TABLE alert_tally (
    rule     text NOT NULL,
    level    text NOT NULL,
    status   text NOT NULL,
    episodes bigint NOT NULL
);
COMMENT ON TABLE alert_tally IS 'Number of episodes that are kept, by rule, level and status: the sum of episodes over all rows. Triggers on alert append to it.';
COMMENT ON COLUMN alert_tally.rule IS 'Name of the rule.';
COMMENT ON COLUMN alert_tally.level IS 'Level of the episodes.';
COMMENT ON COLUMN alert_tally.status IS 'Status of the episodes.';
COMMENT ON COLUMN alert_tally.episodes IS 'Episodes that came (positive) or went (negative).';

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
COMMENT ON FUNCTION alert_count IS 'Trigger of alert: appends to alert_tally that an episode came, went, or has another level or status.';
CREATE TRIGGER alert_count AFTER INSERT OR DELETE ON alert FOR EACH ROW EXECUTE FUNCTION alert_count();
-- A repeat, which is frequent, changes neither level nor status.
CREATE TRIGGER alert_recount AFTER UPDATE ON alert FOR EACH ROW
    WHEN (OLD.level <> NEW.level OR OLD.status <> NEW.status OR OLD.rule <> NEW.rule) EXECUTE FUNCTION alert_count();

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
COMMENT ON TABLE alert_hour IS 'What happened in each hour, by rule and level: the sums over all rows of an hour, except open_longest. A trigger on alert_event appends to it; a job adds the rows up once a minute.';
COMMENT ON COLUMN alert_hour.hour IS 'Start of the hour (UTC).';
COMMENT ON COLUMN alert_hour.rule IS 'Name of the rule.';
COMMENT ON COLUMN alert_hour.level IS 'Level of the episode after what happened.';
COMMENT ON COLUMN alert_hour.raised IS 'Episodes that began.';
COMMENT ON COLUMN alert_hour.resolved IS 'Episodes that ended.';
COMMENT ON COLUMN alert_hour.open_seconds IS 'How long the episodes that ended in this hour were open, in seconds, all together.';
COMMENT ON COLUMN alert_hour.open_longest IS 'The longest of them, in seconds: the maximum over all rows of an hour.';
COMMENT ON COLUMN alert_hour.sent IS 'Notifications that were sent.';
COMMENT ON COLUMN alert_hour.failed IS 'Notifications that failed for good.';
COMMENT ON COLUMN alert_hour.suppressed IS 'How often an episode was muted.';

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
COMMENT ON FUNCTION alert_event_count IS 'Trigger of alert_event: appends to alert_hour what happened.';
CREATE TRIGGER alert_event_count AFTER INSERT ON alert_event FOR EACH ROW
    WHEN (NEW.kind IN ('raised', 'resolved', 'notified', 'notification_failed', 'suppressed', 'silenced'))
    EXECUTE FUNCTION alert_event_count();
