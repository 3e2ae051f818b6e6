-- +goose Up

ALTER TABLE entity_sync ADD COLUMN unreadable jsonb;
COMMENT ON COLUMN entity_sync.unreadable IS 'Values of the document that the last sync could not read, why by field of Dealbox. Each is null in the mirror and a member of an episode of value_unreadable. Null: it could read all of them, or the document is not published.';

CREATE TABLE attribute_seen (
    uid          text COLLATE "C" NOT NULL,
    attribute    text COLLATE "C" NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT now(),
    absent_since timestamptz,
    PRIMARY KEY (uid, attribute)
);
COMMENT ON TABLE attribute_seen IS 'Mapped attributes that Strapi has shown at least once. One of them that is absent in an answer says that the type or the token has changed, and not that the value is empty.';
COMMENT ON COLUMN attribute_seen.uid IS 'Strapi''s content type.';
COMMENT ON COLUMN attribute_seen.attribute IS 'The attribute''s name in Strapi, with dots where it is inside of a component or relation.';
COMMENT ON COLUMN attribute_seen.seen_at IS 'When Dealbox first saw it.';
COMMENT ON COLUMN attribute_seen.absent_since IS 'Since when Strapi does not show it; null while it does. While it is set the syncs of the type wait.';

-- +goose Down

DROP TABLE attribute_seen;
ALTER TABLE entity_sync DROP COLUMN unreadable;
