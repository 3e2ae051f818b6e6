package inbox

import (
	"context"
	"fmt"
	"time"

	"dealbox/internal/dbsqlc"
)

// State is that of a document that is behind.
type State string

// The states of a document whose refresh was requested and not done.
const (
	StatePending State = "pending"
	StateDead    State = "dead"
)

// Behind is a document whose mirror is behind Strapi, whether or not an event names it.
type Behind struct {
	UID        string `json:"uid"`
	DocumentID string `json:"document_id"`
	Locale     string `json:"locale"`
	// Name is that of the mirrored row, "" when there is none.
	Name          string     `json:"name"`
	State         State      `json:"state"`
	Failures      int        `json:"failures"`
	LastError     string     `json:"last_error"`
	PendingSince  *time.Time `json:"pending_since"`
	NextAttemptAt *time.Time `json:"next_attempt_at"` // nil when none waits for its time
	DeadAt        *time.Time `json:"dead_at"`         // nil unless dead
	// Events that wait for it; 0 after a first load, a reconciliation or a replay.
	Events int64 `json:"events"`
}

// BehindPage is the first documents that are behind, those that wait longest first.
type BehindPage struct {
	Documents []Behind `json:"documents"`
	// Total counts all of them, also those that the page has no room for.
	Total int64 `json:"total"`
}

// ListBehind returns the documents in a state, limit of them at most.
func ListBehind(ctx context.Context, db dbsqlc.DBTX, state State, limit int) (BehindPage, error) {
	rows, err := dbsqlc.New().EntityBehind(ctx, db, dbsqlc.EntityBehindParams{Dead: state == StateDead, MaxRows: int32(limit)})
	if err != nil {
		return BehindPage{}, fmt.Errorf("list the documents that are behind: %w", err)
	}
	page := BehindPage{Documents: []Behind{}}
	for _, r := range rows {
		page.Total = r.Total
		page.Documents = append(page.Documents, Behind{
			UID: r.UID, DocumentID: r.DocumentID, Locale: r.Locale, Name: r.Name, State: state, Failures: int(r.Failures),
			LastError: deref(r.LastError), PendingSince: r.PendingSince, NextAttemptAt: r.NextAttemptAt, DeadAt: r.DeadAt, Events: r.Events,
		})
	}
	return page, nil
}

// CountWithoutEvent returns how many documents in a state no event names that waits
// for them.
func CountWithoutEvent(ctx context.Context, db dbsqlc.DBTX, state State) (int64, error) {
	n, err := dbsqlc.New().EntityWithoutEvent(ctx, db, state == StateDead)
	if err != nil {
		return 0, fmt.Errorf("count the documents without an event: %w", err)
	}
	return n, nil
}
