-- name: DevDealValue :one
SELECT trim_scale(deal_value)::text AS value FROM deal WHERE document_id = @document_id AND deal_value IS NOT NULL;
