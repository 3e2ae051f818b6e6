-- +goose Up

CREATE TABLE forecast_scope (
    scope       text PRIMARY KEY,
    want        bigint NOT NULL DEFAULT 0,
    done        bigint NOT NULL DEFAULT 0,
    dirty_since timestamptz,
    computed_at timestamptz,
    CHECK (done <= want)
);
INSERT INTO forecast_scope (scope) VALUES ('base');
COMMENT ON TABLE forecast_scope IS 'One row for each forecast that is kept up to date. want > done: the mirror changed since the forecast was computed.';
COMMENT ON COLUMN forecast_scope.scope IS 'Name of the forecast; today only base.';
COMMENT ON COLUMN forecast_scope.want IS 'Number of the last requested recompute. Each transaction that changes the mirror raises it by one.';
COMMENT ON COLUMN forecast_scope.done IS 'The request that the latest forecast includes. The recompute worker raises it.';
COMMENT ON COLUMN forecast_scope.dirty_since IS 'Since when a recompute waits; null when the forecast is up to date.';
COMMENT ON COLUMN forecast_scope.computed_at IS 'When the forecast was last computed, also when its content did not change; null before the first time.';

CREATE TABLE forecast (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope         text NOT NULL REFERENCES forecast_scope,
    computed_at   timestamptz NOT NULL,
    model_version text NOT NULL,
    digest        bytea NOT NULL,
    deals         bigint NOT NULL
);
CREATE INDEX forecast_latest_idx ON forecast (scope, id DESC);
-- Finds the snapshot of a moment, for example of an hour ago.
CREATE INDEX forecast_computed_idx ON forecast (scope, computed_at DESC);
COMMENT ON TABLE forecast IS 'Snapshots of the forecast: one row each time that a recompute gave another result. The recompute worker inserts it, with its rows of forecast_currency and forecast_month.';
COMMENT ON COLUMN forecast.id IS 'The order of the snapshots.';
COMMENT ON COLUMN forecast.scope IS 'Which forecast this is a snapshot of.';
COMMENT ON COLUMN forecast.computed_at IS 'When it was computed.';
COMMENT ON COLUMN forecast.model_version IS 'Name of the rules by which it was computed.';
COMMENT ON COLUMN forecast.digest IS 'SHA-256 over the content. A recompute with the digest of the latest snapshot makes no new row.';
COMMENT ON COLUMN forecast.deals IS 'Number of deals that count, in all currencies.';

CREATE TABLE forecast_currency (
    forecast_id bigint NOT NULL REFERENCES forecast ON DELETE CASCADE,
    currency    text NOT NULL,
    deals       bigint NOT NULL,
    unscheduled numeric NOT NULL,
    PRIMARY KEY (forecast_id, currency)
);
COMMENT ON TABLE forecast_currency IS 'Totals of a snapshot, by currency.';
COMMENT ON COLUMN forecast_currency.forecast_id IS 'The snapshot.';
COMMENT ON COLUMN forecast_currency.currency IS 'Currency code of the deals.';
COMMENT ON COLUMN forecast_currency.deals IS 'Number of deals in this currency that count.';
COMMENT ON COLUMN forecast_currency.unscheduled IS 'Weighted value of the deals that name no month, in units of currency.';

CREATE TABLE forecast_month (
    forecast_id bigint NOT NULL REFERENCES forecast ON DELETE CASCADE,
    currency    text NOT NULL,
    month       date NOT NULL,
    confirmed   numeric NOT NULL,
    tentative   numeric NOT NULL,
    tier_high   numeric NOT NULL,
    tier_medium numeric NOT NULL,
    tier_low    numeric NOT NULL,
    p10         numeric,
    p50         numeric,
    p90         numeric,
    billed      numeric NOT NULL,
    collected   numeric NOT NULL,
    PRIMARY KEY (forecast_id, currency, month)
);
COMMENT ON TABLE forecast_month IS 'A snapshot by currency and month. Amounts are in units of currency, to the cent. A month without any value has no row.';
COMMENT ON COLUMN forecast_month.forecast_id IS 'The snapshot.';
COMMENT ON COLUMN forecast_month.currency IS 'Currency code of the amounts.';
COMMENT ON COLUMN forecast_month.month IS 'First day of the month.';
COMMENT ON COLUMN forecast_month.confirmed IS 'Weighted value of the deals with a probability of 0.75 or more.';
COMMENT ON COLUMN forecast_month.tentative IS 'Weighted value of the other deals.';
COMMENT ON COLUMN forecast_month.tier_high IS 'Confidence tier high: equal to confirmed.';
COMMENT ON COLUMN forecast_month.tier_medium IS 'Confidence tier medium: 0.75 of tentative.';
COMMENT ON COLUMN forecast_month.tier_low IS 'Confidence tier low: 0.25 of tentative.';
COMMENT ON COLUMN forecast_month.p10 IS 'The total is below this with probability 0.10. Null: nothing computes it yet.';
COMMENT ON COLUMN forecast_month.p50 IS 'The total is below this with probability 0.50. Null: nothing computes it yet.';
COMMENT ON COLUMN forecast_month.p90 IS 'The total is below this with probability 0.90. Null: nothing computes it yet.';
COMMENT ON COLUMN forecast_month.billed IS 'Billings of this month, by recognition_month, else by invoice_date.';
COMMENT ON COLUMN forecast_month.collected IS 'Billings that were collected in this month, by collected_date.';
