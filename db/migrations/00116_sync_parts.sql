-- +goose Up

-- An operator can have a delta begin earlier than its types' watermarks say.
ALTER TABLE reconciliation_run ADD COLUMN since timestamptz;
COMMENT ON COLUMN reconciliation_run.since IS 'Of a delta: it lists at least what Strapi updated from this time on. Null: from where the last comparison of each type began.';

-- A permission to delete holds for the run that has it, so such a run waits by itself.
DROP INDEX reconciliation_run_waiting_idx;
CREATE UNIQUE INDEX reconciliation_run_waiting_idx ON reconciliation_run (kind, allow_deletes) WHERE status = 'waiting';
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator says that the deletions which this run finds are right, and the values that are empty in it, too.';

ALTER TABLE entity_sync ADD COLUMN deletion_allowed_seq bigint;
COMMENT ON COLUMN entity_sync.deletion_allowed_seq IS 'The refresh with which an operator allowed the deletion of this document, whatever the guard says. It is used up when that refresh is done. Null when nobody ever did.';

ALTER TABLE deletion_guard DROP COLUMN allow_until, DROP COLUMN allowed_by;

-- +goose Down

ALTER TABLE deletion_guard ADD COLUMN allow_until timestamptz, ADD COLUMN allowed_by text;
COMMENT ON COLUMN deletion_guard.allow_until IS 'An operator allows every deletion until this time; null when nobody ever did.';
COMMENT ON COLUMN deletion_guard.allowed_by IS 'Who set allow_until: cli:<os user> or the name of an admin token.';
ALTER TABLE entity_sync DROP COLUMN deletion_allowed_seq;
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator confirms the deletions that the guard holds back.';
UPDATE reconciliation_run SET status = 'failed', finished_at = clock_timestamp(), error = 'Dealbox was taken back to the version before while it waited'
WHERE status = 'waiting' AND allow_deletes;
DROP INDEX reconciliation_run_waiting_idx;
CREATE UNIQUE INDEX reconciliation_run_waiting_idx ON reconciliation_run (kind) WHERE status = 'waiting';
ALTER TABLE reconciliation_run DROP COLUMN since;
