-- name: StrapiAttributes :many
-- What is known of the attributes of a type.
SELECT name, (seen_at IS NOT NULL)::boolean AS seen, (absent_since IS NOT NULL)::boolean AS absent FROM strapi_attribute WHERE uid = @uid;

-- name: StrapiAttributesShown :exec
-- Strapi shows these attributes.
INSERT INTO strapi_attribute AS a (uid, name, seen_at)
SELECT @uid, n.name, now() FROM unnest(@names::text[]) AS n (name) ORDER BY n.name COLLATE "C"
ON CONFLICT (uid, name) DO UPDATE SET seen_at = coalesce(a.seen_at, now()), absent_since = NULL
WHERE a.seen_at IS NULL OR a.absent_since IS NOT NULL;

-- name: StrapiAttributesAbsent :many
-- Strapi does not show these attributes. Returns which of them it has ever shown, to whichever process.
INSERT INTO strapi_attribute AS a (uid, name, absent_since)
SELECT @uid, n.name, now() FROM unnest(@names::text[]) AS n (name) ORDER BY n.name COLLATE "C"
ON CONFLICT (uid, name) DO UPDATE SET absent_since = coalesce(a.absent_since, now())
RETURNING a.name, (a.seen_at IS NOT NULL)::boolean AS seen;

-- name: StrapiAttributesForget :exec
-- Only these types are mirrored now: no sync waits for an attribute of another one, and nothing
-- of another one is held back.
WITH forgotten AS (
    UPDATE strapi_attribute SET absent_since = NULL WHERE seen_at IS NOT NULL AND absent_since IS NOT NULL AND uid <> ALL (@uids::text[])
)
UPDATE deletion_guard SET tripped_at = NULL WHERE tripped_at IS NOT NULL AND uid <> ALL (@uids::text[]);

-- name: StrapiAttributesUnmapped :exec
-- Only these attributes are mapped now: no sync of the type waits for another one.
UPDATE strapi_attribute SET absent_since = NULL
WHERE uid = @uid AND seen_at IS NOT NULL AND absent_since IS NOT NULL AND name <> ALL (@mapped::text[]);
