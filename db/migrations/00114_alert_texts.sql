-- +goose Up

-- What people know a dead document by, beside its name, and where they open it.
ALTER TABLE alert_member
    ADD COLUMN value text NOT NULL DEFAULT '',
    ADD COLUMN shown text NOT NULL DEFAULT '',
    ADD COLUMN link  text NOT NULL DEFAULT '';
COMMENT ON COLUMN alert_member.value IS 'What the member is worth, for example a deal''s value with its currency; empty when that is not known.';
COMMENT ON COLUMN alert_member.shown IS 'What the mirror and the forecast show of the member meanwhile, in words; empty when that is not known.';
COMMENT ON COLUMN alert_member.link IS 'Where people open the member: of a document Strapi''s editor. Empty when it has no such place.';
COMMENT ON COLUMN alert.message IS 'Text of the last time that the rule fired, and once it is resolved what became of it; alert_event keeps the earlier ones.';
