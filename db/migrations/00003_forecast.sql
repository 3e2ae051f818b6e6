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
COMMENT ON TABLE forecast_scope IS 'want > done: the mirror changed since the forecast was computed.';

CREATE TABLE forecast (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope         text NOT NULL REFERENCES forecast_scope,
    computed_at   timestamptz NOT NULL,
    model_version text NOT NULL,
    digest        bytea NOT NULL,
    deals         bigint NOT NULL
);
CREATE INDEX forecast_latest_idx ON forecast (scope, id DESC);
COMMENT ON TABLE forecast IS 'Snapshots: one row each time that a recompute gave another result.';
COMMENT ON COLUMN forecast.digest IS 'sha256 over the content; a recompute with the same content makes no new row.';
COMMENT ON COLUMN forecast.deals IS 'Deals that count, in all currencies.';

CREATE TABLE forecast_currency (
    forecast_id bigint NOT NULL REFERENCES forecast ON DELETE CASCADE,
    currency    text NOT NULL,
    deals       bigint NOT NULL,
    unscheduled numeric NOT NULL,
    PRIMARY KEY (forecast_id, currency)
);
COMMENT ON COLUMN forecast_currency.unscheduled IS 'Weighted value of the deals that name no month.';

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
COMMENT ON TABLE forecast_month IS 'Months with no value at all have no row.';

-- +goose Down
DROP TABLE forecast_month;
DROP TABLE forecast_currency;
DROP TABLE forecast;
DROP TABLE forecast_scope;
