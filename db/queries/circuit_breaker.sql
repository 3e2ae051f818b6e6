-- name: CircuitBreakerGet :one
-- retry_in: seconds until a probe may be made (half_open: until the prober's
-- lease ends), by the database's clock; 0 when it may be made now. actor and reason:
-- of the transition that led to this state; empty before the first one.
SELECT sqlc.embed(b),
       coalesce(greatest(extract(epoch FROM CASE b.state WHEN 'open' THEN b.retry_at
                                                         WHEN 'half_open' THEN b.probe_until END - now()), 0),
                0)::float8 AS retry_in,
       coalesce(e.actor, '')::text AS actor, coalesce(e.reason, '')::text AS reason
FROM circuit_breaker b
LEFT JOIN circuit_breaker_event e ON e.name = b.name AND e.generation = b.generation
WHERE b.name = @name;

-- name: CircuitBreakerLock :one
-- For operators, whose word must not be lost to a transition that comes between.
SELECT * FROM circuit_breaker WHERE name = @name FOR NO KEY UPDATE;

-- name: CircuitBreakerCount :one
-- Counts a failure. No row: not closed, held by an operator, or this key was
-- counted in this run already. An empty key always counts.
UPDATE circuit_breaker SET
    failure_count = failure_count + 1,
    failure_keys = CASE WHEN @key::text = '' THEN failure_keys ELSE array_append(failure_keys, @key::text) END,
    last_error = @last_error::text
WHERE name = @name AND state = 'closed' AND NOT forced
  AND (@key::text = '' OR NOT @key::text = ANY (failure_keys))
RETURNING *;

-- name: CircuitBreakerClear :exec
-- A success ends the run of failures.
UPDATE circuit_breaker SET failure_count = 0, failure_keys = '{}', last_error = NULL
WHERE name = @name AND state = 'closed' AND failure_count <> 0;

-- name: CircuitBreakerMove :one
-- Every transition is this one statement. No row: another transition came
-- first, or a probe is not due.
UPDATE circuit_breaker SET
    state         = @to_state::text,
    forced        = @to_forced::boolean,
    generation    = generation + 1,
    failure_count = CASE WHEN @to_state::text = 'closed' THEN 0 ELSE failure_count END,
    failure_keys  = CASE WHEN @to_state::text = 'closed' THEN '{}' ELSE failure_keys END,
    last_error    = CASE WHEN @to_state::text = 'closed' THEN NULL
                         ELSE coalesce(sqlc.narg('last_error')::text, last_error) END,
    opened_at     = CASE WHEN @to_state::text = 'closed' THEN NULL ELSE coalesce(opened_at, now()) END,
    retry_at      = CASE WHEN @to_state::text = 'open' AND NOT @to_forced::boolean
                         THEN now() + make_interval(secs => @retry_in::float8) END,
    probe_holder  = CASE WHEN @to_state::text = 'half_open' THEN @probe_holder::text END,
    probe_until   = CASE WHEN @to_state::text = 'half_open'
                         THEN now() + make_interval(secs => @probe_for::float8) END,
    changed_at    = now()
WHERE name = @name AND state = @from_state::text AND generation = @generation
  AND (@to_state::text <> 'half_open'
       OR (state = 'open' AND retry_at <= now())
       OR (state = 'half_open' AND probe_until < now()))
RETURNING *;

-- name: CircuitBreakerEventAppend :exec
INSERT INTO circuit_breaker_event (name, at, generation, from_state, to_state, failure_count, actor, reason)
VALUES (@name, @at, @generation, @from_state, @to_state, @failure_count, @actor, @reason);

-- name: CircuitBreakerEventList :many
-- The last transitions, newest first.
SELECT at, generation, from_state, to_state, failure_count, actor, reason
FROM circuit_breaker_event WHERE name = @name ORDER BY id DESC LIMIT @max_rows;
