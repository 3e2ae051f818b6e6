-- +goose Up

-- A run that the version before this one began has a cursor that means something else.
UPDATE reconciliation_run SET status = 'failed', finished_at = clock_timestamp(), error = 'Dealbox was upgraded while it ran'
WHERE status = 'running';

-- Where a type stands is the type's own now.
ALTER TABLE reconciliation_run DROP COLUMN since, DROP COLUMN answered_at,
    DROP CONSTRAINT reconciliation_run_status_check, DROP CONSTRAINT reconciliation_run_check,
    ADD COLUMN types        text[],
    ADD COLUMN odd          bigint NOT NULL DEFAULT 0,
    ADD COLUMN held_nulls   bigint NOT NULL DEFAULT 0,
    ADD COLUMN dead         bigint NOT NULL DEFAULT 0,
    ADD COLUMN dead_retried bigint NOT NULL DEFAULT 0,
    ADD CHECK (status IN ('waiting', 'running', 'done', 'partial', 'failed')),
    ADD CONSTRAINT reconciliation_run_finished_check CHECK ((status IN ('done', 'partial', 'failed')) = (finished_at IS NOT NULL));
COMMENT ON COLUMN reconciliation_run.types IS 'Strapi''s content types to which the request limits the run; null for all.';
COMMENT ON COLUMN reconciliation_run.status IS 'waiting, running, done, partial (some types could not be compared, the others were) or failed (none could).';
COMMENT ON COLUMN reconciliation_run.stage IS 'Number of the part that is being worked. Each type has seven, one after the other: the list of published rows, of drafts, of published rows again, the comparison, the guards, the refreshes, the dead letters.';
COMMENT ON COLUMN reconciliation_run.cursor IS 'Within the stage: of a list the last row id, of the comparison the last documentId, of the refreshes the last reconciliation_difference.id; empty at its start.';
COMMENT ON COLUMN reconciliation_run.baseline IS 'A full run was done before this one, so what it finds was missed before. The first one only fills the mirror.';
COMMENT ON COLUMN reconciliation_run.odd IS 'Rows that Strapi listed and Dealbox cannot use, such as one without a documentId. They are skipped.';
COMMENT ON COLUMN reconciliation_run.held IS 'Ghosts that the deletion guard holds back: no refresh was requested for them.';
COMMENT ON COLUMN reconciliation_run.held_nulls IS 'Stale documents that the null guard holds back: too many lost an essential value at once.';
COMMENT ON COLUMN reconciliation_run.dead IS 'Dead letters that a full run left alone, because Strapi has not changed them since they died.';
COMMENT ON COLUMN reconciliation_run.dead_retried IS 'Dead letters that a full run which an operator requested tries again.';
COMMENT ON COLUMN reconciliation_run.error IS 'Which types could not be compared, and why; null when all were.';

CREATE TABLE reconciliation_type (
    run_id         bigint NOT NULL REFERENCES reconciliation_run ON DELETE CASCADE,
    uid            text COLLATE "C" NOT NULL,
    plural         text NOT NULL,
    position       integer NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('delta', 'full')),
    status         text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'done', 'failed')),
    since          timestamptz,
    baseline       boolean NOT NULL,
    started_at     timestamptz,
    answered_at    timestamptz,
    published_upto bigint NOT NULL DEFAULT 0,
    listed         bigint NOT NULL DEFAULT 0,
    odd            bigint NOT NULL DEFAULT 0,
    odd_rows       bigint[] NOT NULL DEFAULT '{}',
    odd_reason     text,
    twins          bigint NOT NULL DEFAULT 0,
    causes         jsonb NOT NULL DEFAULT '{}',
    finished_at    timestamptz,
    error          text,
    PRIMARY KEY (run_id, uid),
    CHECK ((status = 'waiting') = (finished_at IS NULL)),
    CHECK ((status = 'failed') = (error IS NOT NULL))
);
CREATE INDEX reconciliation_type_uid_idx ON reconciliation_type (uid, run_id);
COMMENT ON TABLE reconciliation_type IS 'One row for each content type of a run: each is compared by itself, and one that fails keeps no other from it.';
COMMENT ON COLUMN reconciliation_type.run_id IS 'The run.';
COMMENT ON COLUMN reconciliation_type.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN reconciliation_type.plural IS 'Its name in REST routes.';
COMMENT ON COLUMN reconciliation_type.position IS 'In which order the types are compared, from 0.';
COMMENT ON COLUMN reconciliation_type.kind IS 'delta or full. A type whose last full comparison failed is compared in full in each run until it succeeds.';
COMMENT ON COLUMN reconciliation_type.status IS 'waiting (or under way), done or failed.';
COMMENT ON COLUMN reconciliation_type.since IS 'Of a delta: documents with updatedAt from this time on are listed. Null for a full one, and when the type was not compared before.';
COMMENT ON COLUMN reconciliation_type.baseline IS 'A full comparison of the type was done before, so a difference means that a change was missed, not that the type is new to Dealbox.';
COMMENT ON COLUMN reconciliation_type.started_at IS 'Shortly before the first request for its list.';
COMMENT ON COLUMN reconciliation_type.answered_at IS 'Watermark: Strapi''s clock (its Date header) at the first answer. The next delta of the type starts here, less RECONCILE_OVERLAP, if this comparison is done.';
COMMENT ON COLUMN reconciliation_type.published_upto IS 'Row id of the last published row that was listed: after the drafts the list goes on behind it.';
COMMENT ON COLUMN reconciliation_type.listed IS 'Documents that Strapi listed.';
COMMENT ON COLUMN reconciliation_type.odd IS 'Rows that Dealbox cannot use and skipped. With one of them no deletion is concluded.';
COMMENT ON COLUMN reconciliation_type.odd_rows IS 'Row ids of the first twenty of them; 0 where even that cannot be read.';
COMMENT ON COLUMN reconciliation_type.odd_reason IS 'What is wrong with the first of them.';
COMMENT ON COLUMN reconciliation_type.twins IS 'Documents with two published rows in one locale.';
COMMENT ON COLUMN reconciliation_type.causes IS 'Why documents differ, with how many: see reconciliation_difference.cause.';
COMMENT ON COLUMN reconciliation_type.finished_at IS 'When it was done or failed; null before.';
COMMENT ON COLUMN reconciliation_type.error IS 'Why it failed; null when it did not.';

-- Not referenced by a foreign key: one run works at a time, and empties it.
CREATE TABLE reconciliation_staged (
    run_id      bigint NOT NULL,
    uid         text COLLATE "C" NOT NULL,
    document_id text COLLATE "C" NOT NULL,
    locale      text COLLATE "C" NOT NULL,
    version     text NOT NULL CHECK (version IN ('published', 'draft')),
    row_id      bigint NOT NULL,
    staged_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    repeated    boolean NOT NULL,
    requested   boolean NOT NULL,
    attributes  jsonb,
    PRIMARY KEY (run_id, uid, document_id, locale, version, row_id)
);
COMMENT ON TABLE reconciliation_staged IS 'What Strapi has listed in the run that is under way, row by row. A type that was listed whole is compared with the mirror in SQL, then its rows are deleted.';
COMMENT ON COLUMN reconciliation_staged.run_id IS 'The run.';
COMMENT ON COLUMN reconciliation_staged.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN reconciliation_staged.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN reconciliation_staged.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN reconciliation_staged.version IS 'Whether the list of published rows or of drafts showed it.';
COMMENT ON COLUMN reconciliation_staged.row_id IS 'Strapi''s row id.';
COMMENT ON COLUMN reconciliation_staged.staged_at IS 'When the answer that showed it was here.';
COMMENT ON COLUMN reconciliation_staged.repeated IS 'Another row of the same document and locale was listed before.';
COMMENT ON COLUMN reconciliation_staged.requested IS 'A refresh was requested when it was listed: Dealbox did not know the document, and its type is new.';
COMMENT ON COLUMN reconciliation_staged.attributes IS 'The mirrored row that it makes, by our columns. Null when a value does not fit its column: its sync reports that.';

DROP INDEX reconciliation_difference_run_idx;
CREATE INDEX reconciliation_difference_run_idx ON reconciliation_difference (run_id, uid, id);
ALTER TABLE reconciliation_difference
    ADD COLUMN listed_at timestamptz,
    ADD COLUMN held    boolean NOT NULL DEFAULT false,
    ADD COLUMN cause   text CHECK (cause IN ('change', 'silent', 'restored', 'schema', 'meanwhile')),
    ADD COLUMN columns text[] NOT NULL DEFAULT '{}',
    ADD COLUMN emptied text[] NOT NULL DEFAULT '{}';
COMMENT ON TABLE reconciliation_difference IS 'One row for each document in which a run found a difference, but for those of a first contact: they are counted in reconciliation_run.missing.';
COMMENT ON COLUMN reconciliation_difference.enqueued IS 'A refresh was requested. False until the whole list was read, or while a guard holds it back.';
COMMENT ON COLUMN reconciliation_difference.lost IS 'No webhook came about it. Null until a minute has passed since found_at; false at once where no webhook announces such a difference.';
COMMENT ON COLUMN reconciliation_difference.listed_at IS 'When Strapi listed the document; for a ghost when the list began.';
COMMENT ON COLUMN reconciliation_difference.held IS 'A guard holds it back: no refresh is requested.';
COMMENT ON COLUMN reconciliation_difference.cause IS 'change: Strapi announces such a change by a webhook. silent: updatedAt is as it was (a relation was moved from the other side, or somebody edited Strapi''s database). restored: updatedAt is older than the mirror''s, as in a restored backup. schema: many documents differ in just the same columns and their updatedAt is as it was (a changed schema or FIELDS setting), or the type gained or lost its locales. meanwhile: a webhook was processed after the document was listed.';
COMMENT ON COLUMN reconciliation_difference.columns IS 'Of a stale document: the columns that differ.';
COMMENT ON COLUMN reconciliation_difference.emptied IS 'Of a stale document: essential columns (deal_value, amount, status, stage) that are null, empty or 0 in Strapi and not in the mirror.';

-- Where a type stands is in its last comparisons, whatever became of the others in their runs: while one type
-- fails, no full run is done for as long as it does.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION reconciliation_run_prune(keep interval, batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    cut timestamptz := retention_cut(keep, '30 days');
    ids bigint[];
    differences bigint;
BEGIN
    ids := ARRAY(SELECT id FROM reconciliation_run WHERE finished_at < cut
                   AND id NOT IN (SELECT max(t.run_id) FROM reconciliation_type t WHERE t.status = 'done' GROUP BY t.uid
                                  UNION ALL
                                  SELECT max(t.run_id) FROM reconciliation_type t WHERE t.status = 'done' AND t.kind = 'full' GROUP BY t.uid
                                  UNION ALL
                                  SELECT f.id FROM (SELECT max(r.id) AS id FROM reconciliation_run r
                                                    WHERE r.kind = 'full' AND r.status = 'done' AND r.types IS NULL) f WHERE f.id IS NOT NULL)
                 ORDER BY id LIMIT batch FOR UPDATE SKIP LOCKED);
    IF ids = '{}' THEN
        RETURN 0;
    END IF;
    DELETE FROM reconciliation_difference WHERE run_id = ANY (ids);
    GET DIAGNOSTICS differences = ROW_COUNT;
    DELETE FROM reconciliation_run WHERE id = ANY (ids);
    INSERT INTO retention_event (subject, removed, older_than, details)
    VALUES ('reconciliation_run', cardinality(ids), cut, jsonb_build_object('reconciliation_difference', differences));
    RETURN cardinality(ids);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION reconciliation_run_prune IS 'Removes reconciliations that finished longer ago than keep (at least 30 days), at most batch of them, with their types and differences, but not the last full one that was done, nor those with a type''s last comparison and last full comparison that were done. Returns how many; fewer than batch when none is left.';
