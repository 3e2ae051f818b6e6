-- +goose Up

CREATE TABLE deal (
    uid                     text COLLATE "C" NOT NULL,
    document_id             text COLLATE "C" NOT NULL,
    locale                  text COLLATE "C" NOT NULL DEFAULT '',
    strapi_id               bigint,
    deal_id                 text,
    name                    text,
    deal_value              numeric CHECK (deal_value <> 'NaN'),
    currency                text,
    status                  text,
    stage                   text,
    probability             numeric CHECK (probability <> 'NaN'),
    confidence_override     numeric CHECK (confidence_override <> 'NaN'),
    expected_close_date     date,
    recognition_start_month date,
    recognition_end_month   date,
    owner                   text,
    strapi_created_at       timestamptz,
    strapi_updated_at       timestamptz,
    published_at            timestamptz,
    deleted_at              timestamptz,
    PRIMARY KEY (uid, document_id, locale)
);
CREATE INDEX deal_document_idx ON deal (document_id);
COMMENT ON TABLE deal IS 'Mirror of Strapi''s deals, one row for each document in each locale: the published version, else the draft, else a tombstone. Only the sync worker writes it. A column is null when Strapi''s field is empty or the type has no such field.';
COMMENT ON COLUMN deal.uid IS 'Strapi''s content type; one of STRAPI_DEAL_TYPES.';
COMMENT ON COLUMN deal.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN deal.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN deal.strapi_id IS 'Strapi''s row id. Each publication changes it, so it is no key.';
COMMENT ON COLUMN deal.deal_id IS 'The business''s own id of the deal.';
COMMENT ON COLUMN deal.name IS 'Name of the deal.';
COMMENT ON COLUMN deal.deal_value IS 'Whole value, in units of currency.';
COMMENT ON COLUMN deal.currency IS 'Currency code; null counts as FORECAST_CURRENCY.';
COMMENT ON COLUMN deal.status IS 'The forecast counts only active deals.';
COMMENT ON COLUMN deal.stage IS 'Sales stage; the probability comes from it when probability and confidence_override are null.';
COMMENT ON COLUMN deal.probability IS 'In percent, 0 to 100.';
COMMENT ON COLUMN deal.confidence_override IS 'In percent, 0 to 100; used in place of probability when not null.';
COMMENT ON COLUMN deal.expected_close_date IS 'The forecast puts the value into this date''s month when there are no recognition months.';
COMMENT ON COLUMN deal.recognition_start_month IS 'First month over which the value is spread; any day of it.';
COMMENT ON COLUMN deal.recognition_end_month IS 'Last month over which the value is spread, included; any day of it.';
COMMENT ON COLUMN deal.owner IS 'Who is responsible for the deal.';
COMMENT ON COLUMN deal.strapi_created_at IS 'createdAt of Strapi''s row.';
COMMENT ON COLUMN deal.strapi_updated_at IS 'updatedAt of Strapi''s row.';
COMMENT ON COLUMN deal.published_at IS 'publishedAt of Strapi''s row. Null: a draft, so not in the forecast.';
COMMENT ON COLUMN deal.deleted_at IS 'Tombstone: when Dealbox saw that Strapi no longer has the document. The other columns keep its last state. Null while it exists.';

CREATE TABLE billing (
    uid               text COLLATE "C" NOT NULL,
    document_id       text COLLATE "C" NOT NULL,
    locale            text COLLATE "C" NOT NULL DEFAULT '',
    strapi_id         bigint,
    billing_id        text,
    deal_uid          text COLLATE "C",
    deal_document_id  text COLLATE "C",
    amount            numeric CHECK (amount <> 'NaN'),
    currency          text,
    status            text,
    invoice_date      date,
    collected_date    date,
    recognition_month date,
    strapi_created_at timestamptz,
    strapi_updated_at timestamptz,
    published_at      timestamptz,
    deleted_at        timestamptz,
    PRIMARY KEY (uid, document_id, locale)
);
CREATE INDEX billing_deal_idx ON billing (deal_uid, deal_document_id) WHERE deleted_at IS NULL AND deal_document_id IS NOT NULL;
COMMENT ON TABLE billing IS 'Mirror of Strapi''s billings, in the same way as deal.';
COMMENT ON COLUMN billing.uid IS 'Strapi''s content type; one of STRAPI_BILLING_TYPES.';
COMMENT ON COLUMN billing.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN billing.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN billing.strapi_id IS 'Strapi''s row id. Each publication changes it, so it is no key.';
COMMENT ON COLUMN billing.billing_id IS 'The business''s own id of the billing.';
COMMENT ON COLUMN billing.deal_uid IS 'Content type of the deal that the billing belongs to; null when it belongs to none.';
COMMENT ON COLUMN billing.deal_document_id IS 'documentId of the deal that the billing belongs to, as Strapi last said; null when it belongs to none.';
COMMENT ON COLUMN billing.amount IS 'In units of currency.';
COMMENT ON COLUMN billing.currency IS 'Currency code; null counts as FORECAST_CURRENCY.';
COMMENT ON COLUMN billing.status IS 'As Strapi has it; the forecast does not use it.';
COMMENT ON COLUMN billing.invoice_date IS 'The amount is billed in this date''s month when recognition_month is null.';
COMMENT ON COLUMN billing.collected_date IS 'The amount is collected in this date''s month; null when it is not collected.';
COMMENT ON COLUMN billing.recognition_month IS 'The amount is billed in this month; any day of it.';
COMMENT ON COLUMN billing.strapi_created_at IS 'createdAt of Strapi''s row.';
COMMENT ON COLUMN billing.strapi_updated_at IS 'updatedAt of Strapi''s row.';
COMMENT ON COLUMN billing.published_at IS 'publishedAt of Strapi''s row. Null: a draft, so not in the forecast.';
COMMENT ON COLUMN billing.deleted_at IS 'Tombstone: when Dealbox saw that Strapi no longer has the document. Null while it exists.';

CREATE TABLE mirror_change (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    uid         text COLLATE "C" NOT NULL,
    document_id text COLLATE "C" NOT NULL,
    locale      text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('created', 'updated', 'unpublished', 'deleted', 'revived')),
    signed      boolean NOT NULL DEFAULT false,
    before      jsonb,
    after       jsonb
);
CREATE INDEX mirror_change_document_idx ON mirror_change (uid, document_id, locale, id);
CREATE INDEX mirror_change_unsigned_delete_idx ON mirror_change (uid, changed_at) WHERE kind = 'deleted' AND NOT signed;
CREATE TRIGGER mirror_change_append_only BEFORE UPDATE OR DELETE ON mirror_change
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER mirror_change_no_truncate BEFORE TRUNCATE ON mirror_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE mirror_change IS 'Append-only: one row for each sync that changed a mirrored row. The sync worker inserts it in the transaction of the change.';
COMMENT ON COLUMN mirror_change.id IS 'The order of the changes of one document.';
COMMENT ON COLUMN mirror_change.changed_at IS 'When the sync wrote the change, shortly before its commit.';
COMMENT ON COLUMN mirror_change.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN mirror_change.document_id IS 'Strapi''s documentId.';
COMMENT ON COLUMN mirror_change.locale IS 'Strapi''s locale; empty when the type has no locales.';
COMMENT ON COLUMN mirror_change.seq IS 'The refresh that this sync fulfilled (entity_sync.want_seq when it began).';
COMMENT ON COLUMN mirror_change.kind IS 'created: first seen; updated; unpublished: it is a draft now; deleted: it is a tombstone now; revived: it was a tombstone.';
COMMENT ON COLUMN mirror_change.signed IS 'Of a deletion: a verified entry.delete named the document, so the deletion does not count against the guard. False for all other kinds.';
COMMENT ON COLUMN mirror_change.before IS 'The mirrored row before the change, by column; null when there was none (created).';
COMMENT ON COLUMN mirror_change.after IS 'The mirrored row after the change, by column; a tombstone has deleted_at set.';

CREATE TABLE deletion_guard (
    uid         text COLLATE "C" PRIMARY KEY,
    tripped_at  timestamptz,
    allow_until timestamptz,
    allowed_by  text
);
COMMENT ON TABLE deletion_guard IS 'The guard against mass deletion, one row for each content type. While tripped_at is set, documents that vanished from Strapi are not deleted here, unless a verified entry.delete names them.';
COMMENT ON COLUMN deletion_guard.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN deletion_guard.tripped_at IS 'When too many deletions came. Null: not tripped. A full reconciliation that finds few ghosts clears it, and so does dealbox sync --allow-deletes.';
COMMENT ON COLUMN deletion_guard.allow_until IS 'An operator allows every deletion until this time; null when nobody ever did.';
COMMENT ON COLUMN deletion_guard.allowed_by IS 'Who set allow_until: cli:<os user> or the name of an admin token.';
