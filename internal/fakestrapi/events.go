package fakestrapi

import "encoding/json"

// The events of the document service.
const (
	entryCreate       = "entry.create"
	entryUpdate       = "entry.update"
	entryDelete       = "entry.delete"
	entryPublish      = "entry.publish"
	entryUnpublish    = "entry.unpublish"
	entryDraftDiscard = "entry.draft-discard"
	triggerTest       = "trigger-test"
)

// event is something that happened to a row. It is sent after the commit.
type event struct {
	name       string
	table      *table
	documentID string
	where      slot
	rowID      int64
	// gone is the row as it was, for events about a row that is deleted; nil
	// for the others, whose row is read again when the event is sent.
	gone json.RawMessage
}

// emit notes an event about the transaction's document.
func (tx *transaction) emit(name string, where slot) {
	tx.events = append(tx.events, event{
		name: name, table: tx.table, documentID: tx.documentID, where: where,
		rowID: tx.row(tx.documentID, where).id,
	})
}

// emitGone notes an event about a row that is about to be deleted.
func (tx *transaction) emitGone(name, documentID string, where slot, shape relationShape) {
	r := tx.row(documentID, where)
	tx.events = append(tx.events, event{
		name: name, table: tx.table, documentID: documentID, where: where,
		rowID: r.id, gone: tx.payload(documentID, r, where, shape),
	})
}

// send queues the events of a committed transaction. Strapi does not wait for
// one before it starts the next, so the entry.publish of a save that also
// publishes sometimes goes first.
func (s *Strapi) send(events []event) {
	if len(events) == 2 && events[1].name == entryPublish && events[0].name != entryPublish &&
		s.chance.below(s.config.Overtake) {
		events[0], events[1] = events[1], events[0]
	}
	for _, e := range events {
		documentID, _ := e.table.unkey(e.documentID)
		s.Webhooks.enqueue(job{
			event: e.name, model: e.table.Model, uid: e.table.UID, documentID: documentID,
			entry: s.reread(e),
		})
	}
}

// reread returns the entry as it is now: what others wrote since the commit is in
// it. A row that is gone by now (published again, say) makes the entry null, as
// in Strapi (its issue 25387).
func (s *Strapi) reread(e event) json.RawMessage {
	if e.gone != nil {
		return e.gone
	}
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	r := e.table.row(e.documentID, e.where)
	if r == nil || r.id != e.rowID {
		return orNull(nil)
	}
	return e.table.payload(e.documentID, r, e.where, populated)
}
