-- +goose Up

CREATE TABLE circuit_breaker (
    name            text PRIMARY KEY,
    state           text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
    forced          boolean NOT NULL DEFAULT false,
    generation      bigint NOT NULL DEFAULT 0,
    failure_count   integer NOT NULL DEFAULT 0,
    failure_keys    text[] NOT NULL DEFAULT '{}',
    last_error      text,
    opened_at       timestamptz,
    retry_at        timestamptz,
    probe_holder    text,
    probe_until     timestamptz,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT circuit_breaker_opened_at_check CHECK ((state = 'closed') = (opened_at IS NULL)),
    CONSTRAINT circuit_breaker_retry_at_check CHECK ((state = 'open' AND NOT forced) = (retry_at IS NOT NULL)),
    CONSTRAINT circuit_breaker_probe_check CHECK ((state = 'half_open') = (probe_until IS NOT NULL)
                                              AND (probe_until IS NULL) = (probe_holder IS NULL)),
    CONSTRAINT circuit_breaker_forced_check CHECK (NOT (forced AND state = 'half_open'))
);
INSERT INTO circuit_breaker (name) VALUES ('strapi');
COMMENT ON TABLE circuit_breaker IS 'State of the breaker in front of Strapi, shared by all replicas. Every transition is one conditional UPDATE that raises generation.';
COMMENT ON COLUMN circuit_breaker.name IS 'What the breaker protects; today only strapi.';
COMMENT ON COLUMN circuit_breaker.state IS 'closed: requests pass; open: no request passes; half_open: one replica probes.';
COMMENT ON COLUMN circuit_breaker.forced IS 'An operator holds this state: failures are not counted and no probe is made until a reset.';
COMMENT ON COLUMN circuit_breaker.generation IS 'Number of transitions. Whoever acts on an earlier read names the generation that it read; an older one changes nothing.';
COMMENT ON COLUMN circuit_breaker.failure_count IS 'Consecutive failures; a document counts once in a run of failures. While open or half_open: the count that opened the breaker.';
COMMENT ON COLUMN circuit_breaker.failure_keys IS 'The documents that were counted in this run of failures.';
COMMENT ON COLUMN circuit_breaker.last_error IS 'The last failure that was counted, or why the last probe failed; at most 500 bytes. Null after a success.';
COMMENT ON COLUMN circuit_breaker.opened_at IS 'When the breaker left closed: the start of the outage. Failed probes do not change it. Null while closed.';
COMMENT ON COLUMN circuit_breaker.retry_at IS 'While open: when one probe may pass. Null in every other state, and while forced open.';
COMMENT ON COLUMN circuit_breaker.probe_holder IS 'While half_open: the replica whose probe runs. Null in every other state.';
COMMENT ON COLUMN circuit_breaker.probe_until IS 'While half_open: when the probe''s lease ends. After that another replica may probe. Null in every other state.';
COMMENT ON COLUMN circuit_breaker.changed_at IS 'When the state last changed: the time of its last row in circuit_breaker_event.';

CREATE TABLE circuit_breaker_event (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL,
    at            timestamptz NOT NULL,
    generation    bigint NOT NULL,
    from_state    text NOT NULL,
    to_state      text NOT NULL,
    failure_count integer NOT NULL,
    actor         text NOT NULL,
    reason        text NOT NULL,
    UNIQUE (name, generation)
);
CREATE INDEX circuit_breaker_event_idx ON circuit_breaker_event (name, id);
CREATE TRIGGER circuit_breaker_event_append_only BEFORE UPDATE OR DELETE ON circuit_breaker_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER circuit_breaker_event_no_truncate BEFORE TRUNCATE ON circuit_breaker_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE circuit_breaker_event IS 'Append-only: every transition of a breaker, inserted in the transaction of the transition.';
COMMENT ON COLUMN circuit_breaker_event.id IS 'The order of the transitions.';
COMMENT ON COLUMN circuit_breaker_event.name IS 'The breaker (circuit_breaker.name).';
COMMENT ON COLUMN circuit_breaker_event.at IS 'When the transition was made, by the database''s clock.';
COMMENT ON COLUMN circuit_breaker_event.generation IS 'The generation that this transition began; one row each.';
COMMENT ON COLUMN circuit_breaker_event.from_state IS 'The state before. Equal to to_state when another replica took over the lease of a dead prober, or an operator held or reset the state.';
COMMENT ON COLUMN circuit_breaker_event.to_state IS 'The state after.';
COMMENT ON COLUMN circuit_breaker_event.failure_count IS 'Consecutive failures after the transition; closing sets them to 0.';
COMMENT ON COLUMN circuit_breaker_event.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN circuit_breaker_event.reason IS 'Why: the failure that opened it, the outcome of the probe, or the operator''s comment.';
