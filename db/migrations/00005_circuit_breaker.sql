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
COMMENT ON TABLE circuit_breaker IS 'State shared by all replicas. Every transition is one conditional UPDATE that raises generation.';
COMMENT ON COLUMN circuit_breaker.forced IS 'An operator holds this state: failures are not counted and no probe is made until a reset.';
COMMENT ON COLUMN circuit_breaker.generation IS 'Counts the transitions. Who acts on what it read earlier names the generation that it read; an older one changes nothing.';
COMMENT ON COLUMN circuit_breaker.failure_count IS 'Consecutive failures; a document counts once in a run of failures. While open or half_open: the count that opened it.';
COMMENT ON COLUMN circuit_breaker.failure_keys IS 'The documents that were counted in this run.';
COMMENT ON COLUMN circuit_breaker.last_error IS 'The last failure that was counted, or why the last probe failed; at most 500 bytes. Null after a success.';
COMMENT ON COLUMN circuit_breaker.opened_at IS 'When it left closed; kept while probes fail, so it is the start of the outage.';
COMMENT ON COLUMN circuit_breaker.retry_at IS 'While open: when one probe is let through. Null while forced open.';
COMMENT ON COLUMN circuit_breaker.probe_holder IS 'While half_open: the replica whose probe is under way.';
COMMENT ON COLUMN circuit_breaker.probe_until IS 'While half_open: when the lease ends. Past it the prober has died, and another may probe.';
COMMENT ON COLUMN circuit_breaker.changed_at IS 'When the state last changed; the time of its last row in circuit_breaker_event.';

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
COMMENT ON TABLE circuit_breaker_event IS 'Append-only: every transition of a breaker. The order is that of id.';
COMMENT ON COLUMN circuit_breaker_event.generation IS 'The generation that this transition began; one row each.';
COMMENT ON COLUMN circuit_breaker_event.from_state IS 'Equal to to_state when a dead prober''s lease was taken over or an operator held or reset the state.';
COMMENT ON COLUMN circuit_breaker_event.failure_count IS 'The count after the transition; closing sets it to 0.';
COMMENT ON COLUMN circuit_breaker_event.actor IS 'Who did it: dealbox, cli:<os user> or the name of an admin token.';

-- +goose Down
DROP TABLE circuit_breaker_event;
DROP TABLE circuit_breaker;
