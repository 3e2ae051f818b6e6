-- name: MirrorChangeInsert :exec
INSERT INTO mirror_change (uid, document_id, locale, seq, kind, counted, before, after)
VALUES (@uid, @document_id, @locale, @seq, @kind, @counted, @before, @after);
