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
COMMENT ON TABLE deal IS 'Mirror of Strapi''s pipeline deals: the published version, else the draft with published_at null, else a tombstone.';
COMMENT ON COLUMN deal.strapi_id IS 'Strapi''s row id; it changes with each publication, so it is no key.';
COMMENT ON COLUMN deal.published_at IS 'Null: not published, so out of the forecast.';
COMMENT ON COLUMN deal.deleted_at IS 'Tombstone: Strapi no longer has the document. The other columns keep its last state.';

CREATE INDEX deal_document_idx ON deal (document_id);

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
COMMENT ON COLUMN billing.deal_document_id IS 'documentId of the deal that it belongs to, as Strapi last said; null when it belongs to none.';

CREATE TABLE mirror_change (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    uid         text COLLATE "C" NOT NULL,
    document_id text COLLATE "C" NOT NULL,
    locale      text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('created', 'updated', 'unpublished', 'deleted', 'revived')),
    before      jsonb,
    after       jsonb
);
CREATE INDEX mirror_change_document_idx ON mirror_change (uid, document_id, locale, id);
CREATE TRIGGER mirror_change_append_only BEFORE UPDATE OR DELETE ON mirror_change
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER mirror_change_no_truncate BEFORE TRUNCATE ON mirror_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE mirror_change IS 'Append-only: one row for each sync that changed a mirrored row, with the row before and after.';
COMMENT ON COLUMN mirror_change.seq IS 'The want_seq that this sync fulfilled.';

-- +goose Down
DROP TABLE mirror_change;
DROP TABLE billing;
DROP TABLE deal;
