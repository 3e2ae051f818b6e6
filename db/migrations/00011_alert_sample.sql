-- +goose Up

CREATE TABLE alert_sample (
    rule    text NOT NULL,
    subject text NOT NULL,
    bad     integer NOT NULL,
    good    integer NOT NULL,
    PRIMARY KEY (rule, subject),
    CHECK (bad = 0 OR good = 0)
);
COMMENT ON TABLE alert_sample IS 'For rules that are judged by a look a minute: how many looks in a row were bad, or good.';

-- The snapshot of an hour ago.
CREATE INDEX forecast_computed_idx ON forecast (scope, computed_at DESC);

-- +goose Down
DROP INDEX forecast_computed_idx;
DROP TABLE alert_sample;
