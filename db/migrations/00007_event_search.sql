-- +goose Up

-- Searching events. Those with a seq are found through inbox_event_document_idx and
-- entity_sync; these two serve the few that were ignored or quarantined. Both are
-- partial, so an event that is processed costs ingest nothing more.
CREATE INDEX inbox_event_aside_idx ON inbox_event (received_on, id) WHERE seq IS NULL;
CREATE INDEX inbox_event_aside_document_idx ON inbox_event (document_id) WHERE seq IS NULL AND document_id IS NOT NULL;

-- +goose Down
DROP INDEX inbox_event_aside_document_idx;
DROP INDEX inbox_event_aside_idx;
