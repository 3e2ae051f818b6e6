package inbox

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"dealbox/internal/paging"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Status says what became of a stored event. It is derived from the event and
// its document; the view inbox_event_status says the same.
type Status string

// The statuses, in the order of the ledger.
const (
	StatusProcessed   Status = "processed"
	StatusPending     Status = "pending"
	StatusDead        Status = "dead"
	StatusIgnored     Status = "ignored"
	StatusQuarantined Status = "quarantined"
)

// Statuses lists all of them.
func Statuses() []Status {
	return []Status{StatusProcessed, StatusPending, StatusDead, StatusIgnored, StatusQuarantined}
}

// ParseStatus reads the name of a status.
func ParseStatus(s string) (Status, error) {
	if status := Status(strings.ToLower(s)); slices.Contains(Statuses(), status) {
		return status, nil
	}
	return "", fmt.Errorf("%q is not one of processed, pending, dead, ignored, quarantined", s)
}

// Bounds of a page, in events.
const (
	DefaultLimit = 20
	MaxLimit     = 1000
)

const day = 24 * time.Hour

// maxSought is the longest text that a filter may name, in bytes: no
// identifier of a stored event is longer.
const maxSought = 255

// Filter chooses events. Zero values do not filter.
type Filter struct {
	Statuses []Status // one of them
	Event    string   // entry.update
	// Entity is the type: its model (pipeline-deal) or its uid.
	Entity     string
	DocumentID string
	// Since (included) and Until (not included) bound received_at.
	Since, Until time.Time
	// Limit is 1 to 1,000; 0 means 20. Cursor is the NextCursor of the page
	// before, with the same filter. Both are for lists only.
	Limit  int
	Cursor string
}

// Chooses reports whether the filter names anything at all.
func (f Filter) Chooses() bool {
	return len(f.Statuses) > 0 || f.Event != "" || f.Entity != "" || f.DocumentID != "" || !f.Since.IsZero() || !f.Until.IsZero()
}

// details are what the filter names, for the history.
func (f Filter) details() map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{"event": f.Event, "entity": f.Entity, "document_id": f.DocumentID} {
		if value != "" {
			all[name] = value
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			all[name] = at.UTC()
		}
	}
	if len(f.Statuses) > 0 {
		all["status"] = f.Statuses
	}
	return all
}

// args are the named arguments of the SQL in select.go.
func (f Filter) args() (pgx.NamedArgs, error) {
	for _, text := range []struct{ field, value string }{{"event", f.Event}, {"entity", f.Entity}, {"document_id", f.DocumentID}} {
		if len(text.value) > maxSought || !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, unicode.IsControl) {
			return nil, &paging.FieldError{Field: text.field, Problem: "no event has such a value"}
		}
	}
	from, err := parseCursor(f.Cursor)
	if err != nil {
		return nil, err
	}
	if err := paging.CheckSpan(f.Since, f.Until); err != nil {
		return nil, err
	}
	if f.Limit == 0 {
		f.Limit = DefaultLimit
	}
	if f.Limit < 1 || f.Limit > MaxLimit {
		return nil, &paging.FieldError{Field: "limit", Problem: fmt.Sprintf("it must be 1 to %d", MaxLimit)}
	}
	if f.Since.Before(oldestTime) {
		f.Since = oldestTime
	}
	if f.Until.IsZero() || f.Until.After(newestTime) {
		f.Until = newestTime
	}
	return pgx.NamedArgs{
		"statuses": f.statuses(), "event": f.Event, "entity": f.Entity, "document_id": f.DocumentID,
		"since": f.Since.UTC(), "until": f.Until.UTC(), "first_day": dayOf(f.Since), "last_day": earlier(dayOf(f.Until), from.on),
		"before_on": from.on, "before_id": from.id, "max_rows": f.Limit + 1,
	}, nil
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(day) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (f Filter) statuses() []Status {
	if len(f.Statuses) == 0 {
		return Statuses()
	}
	return f.Statuses
}

// only reports whether the filter asks for no status but the given ones.
func (f Filter) only(these ...Status) bool {
	return !slices.ContainsFunc(f.statuses(), func(s Status) bool { return !slices.Contains(these, s) })
}

// position is a place in the list: everything after it is older.
type position struct {
	on time.Time // received_on
	id uuid.UUID
}

// Every time that an event can have lies between these.
var (
	oldestTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	newestTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	newest     = position{on: newestTime, id: uuid.UUID(slices.Repeat([]byte{math.MaxUint8}, 16))}
)

// cursor returns the text of a position.
func (p position) cursor() string {
	return paging.Cursor(p.on.Format(time.DateOnly), p.id.String())
}

// parseCursor returns the position that cursor wrote, and the newest for "".
func parseCursor(s string) (position, error) {
	if s == "" {
		return newest, nil
	}
	on, id, err := paging.ParseCursor(s)
	if err != nil {
		return position{}, err
	}
	var p position
	if p.on, err = time.Parse(time.DateOnly, on); err != nil {
		return position{}, paging.ErrCursor
	}
	if p.id, err = uuid.Parse(id); err != nil {
		return position{}, paging.ErrCursor
	}
	return p, nil
}
