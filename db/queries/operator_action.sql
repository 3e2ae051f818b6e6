-- name: OperatorActionInsert :exec
INSERT INTO operator_action (actor, action, details) VALUES (@actor, @action, @details);
