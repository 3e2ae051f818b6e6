package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
)

// Event is a stored delivery and what became of it. Times are UTC. A text is ""
// where the envelope had none; its JSON is that of the API and of the commands.
type Event struct {
	ID         uuid.UUID `json:"id"`
	ReceivedAt time.Time `json:"received_at"`
	Status     Status    `json:"status"`
	Event      string    `json:"event"`
	Entity     string    `json:"entity"` // the model: pipeline-deal
	UID        string    `json:"uid"`
	DocumentID string    `json:"document_id"`
	Locale     string    `json:"locale"`
	// Scheme is what authenticated it.
	Scheme string `json:"scheme"`
	// SentAt is when Strapi says that it sent it.
	SentAt *time.Time `json:"sent_at"`
	// Seq is the refresh of the document that it requested; nil when it requested none.
	Seq              *int64 `json:"seq"`
	QuarantineReason string `json:"quarantine_reason"`
}

// Page is a part of a list. NextCursor is nil at the end.
type Page struct {
	Events     []Event `json:"events"`
	NextCursor *string `json:"next_cursor"`
}

// eventRow is a row of the statements in select.go, by name.
type eventRow struct {
	ID               uuid.UUID
	ReceivedOn       time.Time
	ReceivedAt       time.Time
	Scheme           string
	Event            string
	UID              string `db:"uid"`
	Model            string
	DocumentID       string `db:"document_id"`
	Locale           string
	SentAt           *time.Time
	Seq              *int64
	QuarantineReason string
	Status           Status
}

// List reads events, the newest first: by the database's day, then by id. A page
// holds together with the next whatever arrives in between. A filter that
// cannot be used gives a *paging.FieldError.
func List(ctx context.Context, db dbsqlc.DBTX, f Filter) (Page, error) {
	args, err := f.args()
	if err != nil {
		return Page{}, err
	}
	found, err := f.find(ctx, db, args)
	if err != nil {
		return Page{}, fmt.Errorf("list events: %w", err)
	}
	if len(found) == 0 && f.Cursor == "" {
		if err := f.checkNames(ctx, db); err != nil {
			return Page{}, err
		}
	}
	page := Page{Events: []Event{}}
	// The statement returns one more than fits when there is another page.
	if len(found) == args["max_rows"] {
		found = found[:len(found)-1]
		last := found[len(found)-1]
		next := position{on: last.ReceivedOn, id: last.ID}.cursor()
		page.NextCursor = &next
	}
	for _, row := range found {
		page.Events = append(page.Events, row.event())
	}
	return page, nil
}

// find reads one page. Where no small index leads to the rows, it goes back by days
// in growing steps, so that a page which the last days fill reads no more than those.
// Over all days at once the planner prefers to read and sort everything, and each
// document that is behind is looked up in every partition.
func (f Filter) find(ctx context.Context, db dbsqlc.DBTX, args pgx.NamedArgs) ([]eventRow, error) {
	sql := f.listSQL()
	if sql == listAside || sql == listDocument {
		return query(ctx, db, sql, args)
	}
	oldest, err := dbsqlc.New().EventOldestDay(ctx, db)
	if err != nil {
		return nil, err
	}
	first, last, limit := args["first_day"].(time.Time), args["last_day"].(time.Time), args["max_rows"].(int)
	first = later(first, oldest)
	// The database's day, even when this machine's clock is a day behind.
	last = earlier(last, dayOf(time.Now()).Add(2*day))
	var found []eventRow
	for step := 4 * day; !last.Before(first) && len(found) < limit; step *= 2 {
		args["first_day"], args["last_day"], args["max_rows"] = later(first, last.Add(day-step)), last, limit-len(found)
		rows, err := query(ctx, db, sql, args)
		if err != nil {
			return nil, err
		}
		found = append(found, rows...)
		last = last.Add(-step)
	}
	args["max_rows"] = limit
	return found, nil
}

// query plans for the given values each time: which partitions and indexes are
// worth reading depends on them.
func query(ctx context.Context, db dbsqlc.DBTX, sql string, args pgx.NamedArgs) ([]eventRow, error) {
	rows, err := db.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[eventRow])
}

func (r eventRow) event() Event {
	return Event{
		ID: r.ID, ReceivedAt: r.ReceivedAt, Status: r.Status, Event: r.Event, Entity: r.Model, UID: r.UID,
		DocumentID: r.DocumentID, Locale: r.Locale, Scheme: r.Scheme, SentAt: r.SentAt, Seq: r.Seq,
		QuarantineReason: r.QuarantineReason,
	}
}
