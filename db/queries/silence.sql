-- name: SilenceInsert :one
INSERT INTO silence (rule, subject, author, comment, expires_at)
VALUES (@rule, sqlc.narg(subject), @author, @comment, @expires_at)
RETURNING *;

-- name: SilenceEnd :one
-- Ends a silence early; no row when it is over already.
UPDATE silence SET ended_at = clock_timestamp(), ended_by = @ended_by
WHERE id = @id AND ended_at IS NULL AND expires_at > clock_timestamp()
RETURNING *;

-- name: SilenceGet :one
SELECT * FROM silence WHERE id = @id;

-- name: SilenceActive :many
SELECT * FROM silence WHERE ended_at IS NULL AND expires_at > clock_timestamp() ORDER BY expires_at, id;
