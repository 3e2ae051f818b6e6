-- name: RetentionDropDay :one
-- Drops one day of inbox_event; false when none may go.
SELECT (inbox_drop_day(make_interval(secs => @keep_seconds::float8)) IS NOT NULL)::boolean AS dropped;

-- name: RetentionPruneAlerts :one
SELECT alert_prune(make_interval(secs => @keep_seconds::float8), @batch);

-- name: RetentionPruneChanges :one
SELECT mirror_change_prune(make_interval(secs => @keep_seconds::float8), @batch);

-- name: RetentionPruneBreaker :one
SELECT circuit_breaker_event_prune(make_interval(secs => @keep_seconds::float8), @batch);

-- name: RetentionPruneForecasts :one
SELECT forecast_prune(make_interval(secs => @keep_seconds::float8), @batch);

-- name: RetentionPruneReconciliations :one
SELECT reconciliation_run_prune(make_interval(secs => @keep_seconds::float8), @batch);

-- name: RetentionPruneHours :one
SELECT alert_hour_prune(make_interval(secs => @keep_seconds::float8), @batch);
