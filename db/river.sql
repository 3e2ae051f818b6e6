-- What sqlc needs to know of River's tables. Never run: rivermigrate makes the real ones.
CREATE SCHEMA river;
CREATE TYPE river.river_job_state AS ENUM (
    'available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled');
CREATE TABLE river.river_job (
    id           bigserial PRIMARY KEY,
    state        river.river_job_state NOT NULL,
    attempt      smallint NOT NULL,
    max_attempts smallint NOT NULL,
    attempted_at timestamptz,
    created_at   timestamptz NOT NULL,
    finalized_at timestamptz,
    scheduled_at timestamptz NOT NULL,
    kind         text NOT NULL,
    queue        text NOT NULL,
    args         jsonb NOT NULL,
    errors       jsonb[]
);
CREATE TABLE river.river_leader (
    expires_at timestamptz NOT NULL
);
