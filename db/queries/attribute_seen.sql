-- name: AttributesSeen :many
-- The attributes of a type that Strapi has ever shown.
SELECT attribute, absent_since FROM attribute_seen WHERE uid = @uid;

-- name: AttributesShown :exec
-- Strapi shows these attributes.
INSERT INTO attribute_seen AS s (uid, attribute)
SELECT @uid, unnest(@attributes::text[]) ORDER BY 2
ON CONFLICT (uid, attribute) DO UPDATE SET absent_since = NULL WHERE s.absent_since IS NOT NULL;

-- name: AttributesAbsent :exec
-- Strapi no longer shows these attributes.
UPDATE attribute_seen SET absent_since = now()
WHERE uid = @uid AND attribute = ANY (@attributes::text[]) AND absent_since IS NULL;
