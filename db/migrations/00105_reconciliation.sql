-- +goose Up

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
COMMENT ON TABLE reconciliation_run IS 'One row for each comparison of the mirror with Strapi. One runs at a time over all replicas; after a crash another replica goes on from its cursor.';
COMMENT ON COLUMN reconciliation_run.id IS 'The order of the requests.';
COMMENT ON COLUMN reconciliation_run.kind IS 'delta: what Strapi changed since an earlier run; full: every document and field.';
COMMENT ON COLUMN reconciliation_run.trigger IS 'Why: start (Dealbox started), schedule, demand (actor requested it) or after_refusal (webhooks were answered 503).';
COMMENT ON COLUMN reconciliation_run.actor IS 'Who requested it: dealbox, cli:<os user> or the name of an admin token.';
COMMENT ON COLUMN reconciliation_run.status IS 'waiting, running, done or failed.';
COMMENT ON COLUMN reconciliation_run.allow_deletes IS 'An operator confirms the deletions that the guard holds back.';
COMMENT ON COLUMN reconciliation_run.requested_at IS 'When the run was requested.';
COMMENT ON COLUMN reconciliation_run.started_at IS 'When a runner first claimed it; null while waiting.';
COMMENT ON COLUMN reconciliation_run.finished_at IS 'When it was done or failed; null before.';
COMMENT ON COLUMN reconciliation_run.generation IS 'Each claim raises it by one. A runner that claimed an older generation writes nothing more.';
COMMENT ON COLUMN reconciliation_run.holder IS 'The replica that claimed it last; null while waiting.';
COMMENT ON COLUMN reconciliation_run.lease_until IS 'Each step extends it. While running: after this time the runner counts as dead and another goes on. Null while waiting.';
COMMENT ON COLUMN reconciliation_run.stage IS 'Number of the part that is being worked: first the list of each type, then, in a full run, the ghosts of each type.';
COMMENT ON COLUMN reconciliation_run.cursor IS 'Within the stage: the last documentId that was compared; empty at its start.';
COMMENT ON COLUMN reconciliation_run.since IS 'Of a delta: documents with updatedAt from this time on are listed. Null for a full run, and when no run was done before.';
COMMENT ON COLUMN reconciliation_run.answered_at IS 'Watermark: Strapi''s clock (its Date header) at the first answer. The next delta starts here, less RECONCILE_OVERLAP. Null before an answer came.';
COMMENT ON COLUMN reconciliation_run.baseline IS 'A full run was done before this one, so a difference means that a change was missed, not that Dealbox is new.';
COMMENT ON COLUMN reconciliation_run.expected IS 'Documents to list, as far as Strapi has said.';
COMMENT ON COLUMN reconciliation_run.listed IS 'Documents that Strapi listed and that were compared.';
COMMENT ON COLUMN reconciliation_run.missing IS 'Documents that Strapi has and the mirror has not.';
COMMENT ON COLUMN reconciliation_run.stale IS 'Documents with a field that differs.';
COMMENT ON COLUMN reconciliation_run.ghosts IS 'Of a full run: documents that the mirror has and Strapi has not.';
COMMENT ON COLUMN reconciliation_run.held IS 'Ghosts that the guard holds back: no refresh was requested for them.';
COMMENT ON COLUMN reconciliation_run.enqueued IS 'Documents for which a refresh was requested.';
COMMENT ON COLUMN reconciliation_run.lost_webhooks IS 'Differences about which no webhook came, neither before nor within a minute after. Counted a minute after the difference was found.';
COMMENT ON COLUMN reconciliation_run.error IS 'Why the run failed; null when it did not.';

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
COMMENT ON TABLE reconciliation_difference IS 'One row for each document in which a run found a difference. Missing and stale documents are kept only when the run has a baseline, ghosts always.';
COMMENT ON COLUMN reconciliation_difference.id IS 'The order in which they were found.';
COMMENT ON COLUMN reconciliation_difference.run_id IS 'The run that found it.';
COMMENT ON COLUMN reconciliation_difference.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN reconciliation_difference.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN reconciliation_difference.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN reconciliation_difference.kind IS 'missing: Strapi has it and the mirror has not; stale: a field differs; ghost: the mirror has it and Strapi has not.';
COMMENT ON COLUMN reconciliation_difference.found_at IS 'When it was found.';
COMMENT ON COLUMN reconciliation_difference.enqueued IS 'A refresh was requested. False for a ghost until the whole list was read, or while the guard holds it back.';
COMMENT ON COLUMN reconciliation_difference.lost IS 'No webhook came about it. Null until a minute has passed since found_at.';
