-- name: DealBefore :one
SELECT to_jsonb(d) AS before FROM deal d WHERE uid = @uid AND document_id = @document_id AND locale = @locale;

-- name: DealUpsert :one
-- No row means that nothing differed.
INSERT INTO deal AS d (uid, document_id, locale, strapi_id, deal_id, name, deal_value, currency, status, stage,
                       probability, confidence_override, expected_close_date, recognition_start_month,
                       recognition_end_month, owner, strapi_created_at, strapi_updated_at, published_at, deleted_at)
VALUES (@uid, @document_id, @locale, @strapi_id, sqlc.narg(deal_id), sqlc.narg(name), @deal_value, sqlc.narg(currency),
        sqlc.narg(status), sqlc.narg(stage), @probability, @confidence_override, sqlc.narg(expected_close_date),
        sqlc.narg(recognition_start_month), sqlc.narg(recognition_end_month), sqlc.narg(owner),
        sqlc.narg(strapi_created_at), sqlc.narg(strapi_updated_at), sqlc.narg(published_at), NULL)
ON CONFLICT (uid, document_id, locale) DO UPDATE SET
    strapi_id = excluded.strapi_id, deal_id = excluded.deal_id, name = excluded.name, deal_value = excluded.deal_value,
    currency = excluded.currency, status = excluded.status, stage = excluded.stage, probability = excluded.probability,
    confidence_override = excluded.confidence_override, expected_close_date = excluded.expected_close_date,
    recognition_start_month = excluded.recognition_start_month, recognition_end_month = excluded.recognition_end_month,
    owner = excluded.owner, strapi_created_at = excluded.strapi_created_at,
    strapi_updated_at = excluded.strapi_updated_at, published_at = excluded.published_at, deleted_at = NULL
WHERE (d.strapi_id, d.deal_id, d.name, d.deal_value, d.currency, d.status, d.stage, d.probability,
       d.confidence_override, d.expected_close_date, d.recognition_start_month, d.recognition_end_month, d.owner,
       d.strapi_created_at, d.strapi_updated_at, d.published_at, d.deleted_at)
    IS DISTINCT FROM
      (excluded.strapi_id, excluded.deal_id, excluded.name, excluded.deal_value, excluded.currency, excluded.status,
       excluded.stage, excluded.probability, excluded.confidence_override, excluded.expected_close_date,
       excluded.recognition_start_month, excluded.recognition_end_month, excluded.owner, excluded.strapi_created_at,
       excluded.strapi_updated_at, excluded.published_at, NULL::timestamptz)
RETURNING to_jsonb(d) AS after;

-- name: DealTombstone :one
-- No row means that there was nothing to delete.
UPDATE deal AS d SET deleted_at = now()
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND deleted_at IS NULL
RETURNING to_jsonb(d) AS after;

-- name: DealUID :one
-- The type of a deal, where several types of deals are configured.
SELECT uid FROM deal WHERE document_id = @document_id ORDER BY deleted_at IS NOT NULL, uid LIMIT 1;

-- name: DocumentDescribe :one
-- What people know a document by: the deal's name, or the billing's own id and its deal's name; what it is worth;
-- and how old the state is that the mirror shows. All are empty or null for a document that the mirror has not.
-- to_char would write ### for a value with more digits than its pattern.
SELECT coalesce(d.name, d.deal_id,
                CASE WHEN b.uid IS NOT NULL THEN concat_ws(' of ', coalesce(b.billing_id, 'a billing'), owner.name) END, '')::text AS name,
       coalesce(regexp_replace(round(coalesce(d.deal_value, b.amount), 2)::text, '(\d)(?=(?:\d{3})+\.)', '\1,', 'g') || coalesce(' ' || coalesce(d.currency, b.currency), ''), '')::text AS value,
       (coalesce(d.deleted_at, b.deleted_at) IS NULL AND coalesce(d.document_id, b.document_id) IS NOT NULL)::boolean AS is_shown,
       coalesce(d.strapi_updated_at, b.strapi_updated_at) AS updated_at
FROM (VALUES (1)) AS one (row)
LEFT JOIN deal d ON d.uid = @uid AND d.document_id = @document_id AND d.locale = @locale
LEFT JOIN billing b ON b.uid = @uid AND b.document_id = @document_id AND b.locale = @locale
LEFT JOIN LATERAL (SELECT o.name FROM deal o WHERE o.uid = b.deal_uid AND o.document_id = b.deal_document_id
                   ORDER BY o.locale <> @locale, o.locale LIMIT 1) owner ON true;

