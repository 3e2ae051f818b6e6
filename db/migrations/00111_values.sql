-- +goose Up

ALTER TABLE entity_sync ADD COLUMN unreadable jsonb;
COMMENT ON COLUMN entity_sync.unreadable IS 'Values of the document that the last sync could not read, why by field of Dealbox. Each is null in the mirror and a member of an episode of value_unreadable. Null: it could read all of them, or the document is not published.';

CREATE TABLE strapi_attribute (
    uid          text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    seen_at      timestamptz,
    absent_since timestamptz,
    PRIMARY KEY (uid, name),
    CHECK (seen_at IS NOT NULL OR absent_since IS NOT NULL)
);
COMMENT ON TABLE strapi_attribute IS 'What Strapi shows of the attributes that are mapped, and of the timestamps and the locale. An attribute that was seen and is absent says that the type or the token has changed, and not that the value is empty: the syncs of its type wait.';
COMMENT ON COLUMN strapi_attribute.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN strapi_attribute.name IS 'The attribute''s name in Strapi, with dots where it is inside of a component or relation.';
COMMENT ON COLUMN strapi_attribute.seen_at IS 'When Strapi first showed it. Null: it never did; then the column in the mirror is null, and requests do not name it.';
COMMENT ON COLUMN strapi_attribute.absent_since IS 'Since when Strapi does not show it; null while it does.';
