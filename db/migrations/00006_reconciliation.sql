-- +goose Up

-- One row a reconciliation: asked for, under way, and over. One of them runs at a
-- time over all replicas; its cursor lets another replica go on after a crash.
CREATE TABLE reconciliation_run (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('delta', 'full')),
    trigger       text NOT NULL CHECK (trigger IN ('start', 'schedule', 'demand', 'after_refusal')),
    actor         text NOT NULL DEFAULT 'dealbox',
    status        text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    allow_deletes boolean NOT NULL DEFAULT false,
    requested_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at    timestamptz,
    finished_at   timestamptz,
    generation    bigint NOT NULL DEFAULT 0,
    holder        text,
    lease_until   timestamptz,
    stage         integer NOT NULL DEFAULT 0,
    cursor        text COLLATE "C" NOT NULL DEFAULT '',
    since         timestamptz,
    answered_at   timestamptz,
    baseline      boolean NOT NULL DEFAULT false,
    expected      bigint NOT NULL DEFAULT 0,
    listed        bigint NOT NULL DEFAULT 0,
    missing       bigint NOT NULL DEFAULT 0,
    stale         bigint NOT NULL DEFAULT 0,
    ghosts        bigint NOT NULL DEFAULT 0,
    held          bigint NOT NULL DEFAULT 0,
    enqueued      bigint NOT NULL DEFAULT 0,
    lost_webhooks bigint NOT NULL DEFAULT 0,
    error         text,
    CHECK ((status IN ('done', 'failed')) = (finished_at IS NOT NULL)),
    CHECK (status <> 'failed' OR error IS NOT NULL)
);
-- At most one runs, and at most one of each kind waits.
CREATE UNIQUE INDEX reconciliation_run_running_idx ON reconciliation_run (status) WHERE status = 'running';
CREATE UNIQUE INDEX reconciliation_run_waiting_idx ON reconciliation_run (kind) WHERE status = 'waiting';
CREATE INDEX reconciliation_run_finished_idx ON reconciliation_run (kind, status, finished_at) WHERE finished_at IS NOT NULL;

COMMENT ON TABLE reconciliation_run IS 'Comparisons of the mirror with Strapi. delta: what Strapi changed since the last one; full: every document and field.';
COMMENT ON COLUMN reconciliation_run.trigger IS 'Why: at start, by schedule, asked for (actor says by whom), or after webhooks were refused.';
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator says that the deletions which the guard holds back are right.';
COMMENT ON COLUMN reconciliation_run.generation IS 'Raised by each claim. A runner whose generation is no longer this one writes nothing more.';
COMMENT ON COLUMN reconciliation_run.lease_until IS 'While running: past it the runner has died and another goes on.';
COMMENT ON COLUMN reconciliation_run.stage IS 'What is being worked: first each type''s list, then, in a full run, each type''s ghosts.';
COMMENT ON COLUMN reconciliation_run.cursor IS 'Within the stage: the last documentId that was compared.';
COMMENT ON COLUMN reconciliation_run.since IS 'delta: documents with updatedAt from here on are listed.';
COMMENT ON COLUMN reconciliation_run.answered_at IS 'Strapi''s clock (Date header) at the first answer: the next delta starts from here, less RECONCILE_OVERLAP.';
COMMENT ON COLUMN reconciliation_run.baseline IS 'A full run was done before this one, so a difference means that something was missed, not that Dealbox is new.';
COMMENT ON COLUMN reconciliation_run.expected IS 'Documents to list, as far as Strapi has said.';
COMMENT ON COLUMN reconciliation_run.missing IS 'Documents that Strapi has and the mirror has not.';
COMMENT ON COLUMN reconciliation_run.stale IS 'Documents with a field that differs.';
COMMENT ON COLUMN reconciliation_run.ghosts IS 'full: documents that the mirror has and Strapi has not.';
COMMENT ON COLUMN reconciliation_run.held IS 'Ghosts that the guard holds back: nothing was done about them.';
COMMENT ON COLUMN reconciliation_run.enqueued IS 'Documents to which a look was asked for.';
COMMENT ON COLUMN reconciliation_run.lost_webhooks IS 'Differences that no webhook told of, neither before nor within a minute after. Known a minute after the run.';

CREATE TABLE reconciliation_difference (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES reconciliation_run ON DELETE CASCADE,
    uid         text COLLATE "C" NOT NULL,
    document_id text COLLATE "C" NOT NULL,
    locale      text COLLATE "C" NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('missing', 'stale', 'ghost')),
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    enqueued    boolean NOT NULL,
    lost        boolean
);
CREATE INDEX reconciliation_difference_run_idx ON reconciliation_difference (run_id, uid, id) WHERE kind = 'ghost';
CREATE INDEX reconciliation_difference_open_idx ON reconciliation_difference (found_at) WHERE lost IS NULL;
CREATE INDEX reconciliation_difference_lost_idx ON reconciliation_difference (found_at) WHERE lost;
COMMENT ON TABLE reconciliation_difference IS 'What reconciliation found once there was a baseline; ghosts always. Kept for 30 days.';
COMMENT ON COLUMN reconciliation_difference.enqueued IS 'A look was asked for. False for a ghost: not yet, or held back by the guard.';
COMMENT ON COLUMN reconciliation_difference.lost IS 'No webhook told of it. Null until a minute has passed.';

-- The guard against mass deletion, one row a type.
CREATE TABLE deletion_guard (
    uid         text COLLATE "C" PRIMARY KEY,
    tripped_at  timestamptz,
    allow_until timestamptz,
    allowed_by  text
);
COMMENT ON TABLE deletion_guard IS 'While tripped_at is set, documents of the type that vanished from Strapi are not deleted here unless a signed entry.delete names them. What waits: entity_sync.last_error begins with "held back".';
COMMENT ON COLUMN deletion_guard.tripped_at IS 'Too many deletions came. Cleared when a full run finds few ghosts, or by dealbox sync --allow-deletes.';
COMMENT ON COLUMN deletion_guard.allow_until IS 'Until then every deletion is believed; allowed_by says who said so.';

ALTER TABLE mirror_change ADD COLUMN signed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN mirror_change.signed IS 'deleted: a verified entry.delete named the document, so it does not count against the guard.';
CREATE INDEX mirror_change_unsigned_delete_idx ON mirror_change (uid, changed_at) WHERE kind = 'deleted' AND NOT signed;

-- +goose Down
DROP INDEX mirror_change_unsigned_delete_idx;
ALTER TABLE mirror_change DROP COLUMN signed;
DROP TABLE deletion_guard;
DROP TABLE reconciliation_difference;
DROP TABLE reconciliation_run;
