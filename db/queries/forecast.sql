-- name: ForecastMark :one
-- The door. Locks the scope's row until the caller's transaction ends, so it
-- should be that transaction's last statement.
UPDATE forecast_scope SET
    want = want + 1,
    dirty_since = CASE WHEN want = done THEN clock_timestamp() ELSE dirty_since END
WHERE scope = @scope
RETURNING (want - 1 = done)::boolean AS was_clean;

-- name: ForecastScope :one
SELECT want, done, dirty_since, computed_at, clock_timestamp()::timestamptz AS read_at
FROM forecast_scope WHERE scope = @scope;

-- name: ForecastAdvance :one
-- The compare-and-set: done only moves forward. No row means that another
-- replica got at least this far. What is wanted beyond it became dirty after
-- want was read, so dirty_since is never too late.
UPDATE forecast_scope SET
    done = @done,
    computed_at = clock_timestamp(),
    dirty_since = CASE WHEN want > @done THEN @read_at::timestamptz END
WHERE scope = @scope AND done < @done AND want >= @done
RETURNING want, computed_at::timestamptz AS computed_at;

-- name: ForecastInsert :one
-- No row means that the latest snapshot has the same content. The caller holds
-- the scope's row, so the latest one cannot change meanwhile.
INSERT INTO forecast (scope, computed_at, model_version, digest, deals)
SELECT @scope, @computed_at, @model_version, @digest, @deals
WHERE @digest::bytea IS DISTINCT FROM
      (SELECT f.digest FROM forecast f WHERE f.scope = @scope ORDER BY f.id DESC LIMIT 1)
RETURNING id;

-- name: ForecastCurrencyInsert :exec
-- Amounts come as text: exact, and Postgres makes numerics of them.
INSERT INTO forecast_currency (forecast_id, currency, deals, unscheduled)
SELECT @forecast_id::bigint, unnest(@currencies::text[]), unnest(@deals::bigint[]), unnest(@unscheduled::text[])::numeric;

-- name: ForecastMonthInsert :exec
INSERT INTO forecast_month (forecast_id, currency, month, confirmed, tentative, tier_high, tier_medium, tier_low,
                            billed, collected)
SELECT @forecast_id::bigint, unnest(@currencies::text[]), unnest(@months::date[]),
       unnest(@confirmed::text[])::numeric, unnest(@tentative::text[])::numeric, unnest(@tier_high::text[])::numeric,
       unnest(@tier_medium::text[])::numeric, unnest(@tier_low::text[])::numeric,
       unnest(@billed::text[])::numeric, unnest(@collected::text[])::numeric;

-- name: ForecastLatest :one
-- The latest snapshot and what it says of one currency, in one statement.
-- The snapshot is missing while none was ever computed.
SELECT s.computed_at, f.id, f.model_version, f.deals, c.deals AS currency_deals, c.unscheduled
FROM forecast_scope s
LEFT JOIN forecast f ON f.id = (SELECT max(l.id) FROM forecast l WHERE l.scope = s.scope)
LEFT JOIN forecast_currency c ON c.forecast_id = f.id AND c.currency = @currency
WHERE s.scope = @scope;

-- name: ForecastMonths :many
SELECT month, confirmed, tentative, tier_high, tier_medium, tier_low, billed, collected
FROM forecast_month
WHERE forecast_id = @forecast_id AND currency = @currency AND month BETWEEN @first_month::date AND @last_month::date
ORDER BY month;

-- name: ForecastOrphaned :one
-- The forecast is dirty for long and its job is gone.
SELECT EXISTS (SELECT FROM forecast_scope s WHERE s.scope = @scope AND s.done < s.want
                 AND s.dirty_since < now() - interval '2 minutes'
                 AND NOT EXISTS (SELECT FROM river.river_job j WHERE j.kind = 'forecast_recompute'
                                 AND j.state IN ('available', 'pending', 'retryable', 'running', 'scheduled'))) AS orphaned;

-- name: ForecastTotals :one
-- What the latest snapshot promises in a currency from a month on, and what the
-- one of an earlier moment did; -1 while there is none that old.
SELECT coalesce((SELECT sum(m.confirmed + m.tentative) FROM forecast_month m
                 WHERE m.forecast_id = now_id.id AND m.currency = @currency AND m.month >= @first_month::date), 0)::numeric AS total,
       CASE WHEN before.id IS NULL THEN -1 ELSE
           coalesce((SELECT sum(m.confirmed + m.tentative) FROM forecast_month m
                     WHERE m.forecast_id = before.id AND m.currency = @currency AND m.month >= @first_month), 0) END::numeric AS before
FROM (SELECT max(f.id) AS id FROM forecast f WHERE f.scope = @scope) now_id
LEFT JOIN LATERAL (SELECT f.id FROM forecast f WHERE f.scope = @scope AND f.computed_at <= @compared_with::timestamptz
                   ORDER BY f.computed_at DESC LIMIT 1) before ON true;

-- name: ForecastStatus :one
-- How fresh the forecast is. It is behind Strapi while its recompute waits, while any
-- document does or is dead, and while a type is held because Strapi no longer shows an attribute.
-- Nothing waits for a locale: a type that has none any more hides it.
SELECT s.computed_at, (s.want > s.done)::boolean AS dirty, s.dirty_since,
       (b.documents > 0 OR h.since IS NOT NULL)::boolean AS behind, coalesce(least(b.since, h.since), now())::timestamptz AS behind_since
FROM forecast_scope s,
     (SELECT count(*) AS documents, min(coalesce(e.pending_since, e.dead_at)) AS since FROM entity_sync e WHERE e.done_seq < e.want_seq) b,
     (SELECT min(a.absent_since) AS since FROM strapi_attribute a WHERE a.seen_at IS NOT NULL AND a.absent_since IS NOT NULL AND a.name <> 'locale') h
WHERE s.scope = @scope;
