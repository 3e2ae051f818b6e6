-- name: BillingBefore :one
SELECT to_jsonb(b) AS before FROM billing b WHERE uid = @uid AND document_id = @document_id AND locale = @locale;

-- name: BillingUpsert :one
-- No row means that nothing differed.
INSERT INTO billing AS b (uid, document_id, locale, strapi_id, billing_id, deal_uid, deal_document_id, amount, currency,
                          status, invoice_date, collected_date, recognition_month, strapi_created_at,
                          strapi_updated_at, published_at, deleted_at)
VALUES (@uid, @document_id, @locale, @strapi_id, sqlc.narg(billing_id), sqlc.narg(deal_uid), sqlc.narg(deal_document_id),
        @amount, sqlc.narg(currency), sqlc.narg(status), sqlc.narg(invoice_date), sqlc.narg(collected_date),
        sqlc.narg(recognition_month), sqlc.narg(strapi_created_at), sqlc.narg(strapi_updated_at),
        sqlc.narg(published_at), NULL)
ON CONFLICT (uid, document_id, locale) DO UPDATE SET
    strapi_id = excluded.strapi_id, billing_id = excluded.billing_id, deal_uid = excluded.deal_uid,
    deal_document_id = excluded.deal_document_id, amount = excluded.amount, currency = excluded.currency,
    status = excluded.status, invoice_date = excluded.invoice_date, collected_date = excluded.collected_date,
    recognition_month = excluded.recognition_month, strapi_created_at = excluded.strapi_created_at,
    strapi_updated_at = excluded.strapi_updated_at, published_at = excluded.published_at, deleted_at = NULL
WHERE (b.strapi_id, b.billing_id, b.deal_uid, b.deal_document_id, b.amount, b.currency, b.status, b.invoice_date,
       b.collected_date, b.recognition_month, b.strapi_created_at, b.strapi_updated_at, b.published_at, b.deleted_at)
    IS DISTINCT FROM
      (excluded.strapi_id, excluded.billing_id, excluded.deal_uid, excluded.deal_document_id, excluded.amount,
       excluded.currency, excluded.status, excluded.invoice_date, excluded.collected_date, excluded.recognition_month,
       excluded.strapi_created_at, excluded.strapi_updated_at, excluded.published_at, NULL::timestamptz)
RETURNING to_jsonb(b) AS after;

-- name: BillingTombstone :one
-- No row means that there was nothing to delete.
UPDATE billing AS b SET deleted_at = now()
WHERE uid = @uid AND document_id = @document_id AND locale = @locale AND deleted_at IS NULL
RETURNING to_jsonb(b) AS after;

-- name: BillingOfDeal :many
-- The billings that the mirror has under a deal.
SELECT uid, document_id, locale, (published_at IS NOT NULL)::boolean AS published FROM billing
WHERE deal_uid = @deal_uid AND deal_document_id = @deal_document_id AND deleted_at IS NULL;

-- name: BillingLocales :many
-- The mirror's rows of the given documents, whatever their deal.
SELECT uid, document_id, locale FROM billing
WHERE uid = @uid AND document_id = ANY (@document_ids::text[]);
