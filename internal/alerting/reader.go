package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/paging"
	"dealbox/internal/text"
)

// Bounds of a page, in episodes.
const (
	DefaultLimit = 10
	MaxLimit     = 1000
)

// Episode is an alert as it is kept, and as the API and the commands show it.
// Times are UTC.
type Episode struct {
	ID int64 `json:"id,string"`
	// Level is the highest that the episode had.
	Level level.Level `json:"level"`
	// Message and Details (a JSON object) are of the last occurrence.
	Message     string          `json:"message"`
	Details     json.RawMessage `json:"details"`
	Timestamp   time.Time       `json:"timestamp"` // LastSeen
	Rule        string          `json:"rule"`
	Subject     string          `json:"subject"`
	Status      Status          `json:"status"`
	Occurrences int64           `json:"occurrences"`
	// Members is how many members it groups now, such as dead documents; 0 for a
	// rule without members.
	Members    int64      `json:"members"`
	FirstSeen  time.Time  `json:"first_seen"`
	LastSeen   time.Time  `json:"last_seen"`
	ResolvedAt *time.Time `json:"resolved_at"`
	// SilenceID or InhibitorID is what mutes it while it is suppressed.
	SilenceID   *int64 `json:"silence_id,string"`
	InhibitorID *int64 `json:"inhibitor_id,string"`
}

// Filter of a list. Zero values do not filter.
type Filter struct {
	Levels   []level.Level // one of them
	MinLevel level.Level   // this or higher
	Statuses []Status      // one of them
	Rule     string
	// Since (included) and Until (not included) bound last_seen.
	Since, Until time.Time
	// Limit is 1 to 1,000; 0 means 10.
	Limit int
	// Cursor is the NextCursor of the page before, with the same filter.
	Cursor string
}

// Page is a part of a list. NextCursor is "" at the end.
type Page struct {
	Episodes   []Episode
	NextCursor string
}

// List returns episodes, the one that fired last first. An episode that fires
// while a client turns pages moves to the front, so that client does not see it
// again. A filter that cannot be used gives a *FieldError.
func List(ctx context.Context, db dbsqlc.DBTX, f Filter) (Page, error) {
	p, err := f.params()
	if err != nil {
		return Page{}, err
	}
	rows, err := list(ctx, db, f.Rule, p)
	if err != nil {
		return Page{}, fmt.Errorf("list alerts: %w", err)
	}
	if len(rows) == 0 {
		if err := checkRule(ctx, db, f.Rule); err != nil {
			return Page{}, err
		}
	}
	// The query returns one more than fits when there is another page.
	more := len(rows) == int(p.MaxRows)
	if more {
		rows = rows[:len(rows)-1]
	}
	page := Page{Episodes: make([]Episode, len(rows))}
	for i, row := range rows {
		if page.Episodes[i], err = episode(row); err != nil {
			return Page{}, err
		}
	}
	if more {
		last := rows[len(rows)-1]
		page.NextCursor = cursor{seen: last.LastSeen, id: last.ID}.String()
	}
	return page, nil
}

func list(ctx context.Context, db dbsqlc.DBTX, rule string, p dbsqlc.AlertListParams) ([]dbsqlc.Alert, error) {
	if rule == "" {
		return dbsqlc.New().AlertList(ctx, db, p)
	}
	return dbsqlc.New().AlertListOfRule(ctx, db, dbsqlc.AlertListOfRuleParams{
		Rule: rule, Levels: p.Levels, Statuses: p.Statuses, Since: p.Since,
		BeforeSeen: p.BeforeSeen, BeforeID: p.BeforeID, MaxRows: p.MaxRows,
	})
}

// checkRule returns a *FieldError for a name that no rule has. An episode of a rule that
// an older version had may still be kept.
func checkRule(ctx context.Context, db dbsqlc.DBTX, name string) error {
	if name == "" || ruleOf(name).Name != "" {
		return nil
	}
	known, err := dbsqlc.New().AlertRuleKnown(ctx, db, name)
	if err != nil {
		return fmt.Errorf("look a rule up: %w", err)
	}
	if known {
		return nil
	}
	return unknownRule(name)
}

func unknownRule(name string) error {
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return &FieldError{Field: "rule", Problem: fmt.Sprintf("there is no rule %q; there are %s", clip(name), strings.Join(names, ", "))}
}

func (f Filter) params() (dbsqlc.AlertListParams, error) {
	from, err := parseCursor(f.Cursor)
	if err != nil {
		return dbsqlc.AlertListParams{}, err
	}
	if err := paging.CheckSpan(f.Since, f.Until); err != nil {
		return dbsqlc.AlertListParams{}, err
	}
	if f.Limit == 0 {
		f.Limit = DefaultLimit
	}
	if f.Limit < 1 || f.Limit > MaxLimit {
		return dbsqlc.AlertListParams{}, &FieldError{Field: "limit", Problem: fmt.Sprintf("it must be 1 to %d", MaxLimit)}
	}
	if f.Rule != text.Line(f.Rule, maxRule) {
		return dbsqlc.AlertListParams{}, &FieldError{Field: "rule", Problem: "no rule has such a name"}
	}
	if !f.Until.IsZero() && f.Until.Before(from.seen) {
		from = cursor{seen: f.Until} // Ids count from 1: everything before that moment.
	}
	return dbsqlc.AlertListParams{
		Levels: f.levels(), Statuses: f.statuses(), Since: f.Since,
		BeforeSeen: from.seen, BeforeID: from.id, MaxRows: int32(f.Limit) + 1,
	}, nil
}

func (f Filter) levels() []string {
	var names []string
	for _, l := range level.All() {
		if l >= f.MinLevel && (len(f.Levels) == 0 || slices.Contains(f.Levels, l)) {
			names = append(names, l.String())
		}
	}
	return names
}

func (f Filter) statuses() []string {
	wanted := f.Statuses
	if len(wanted) == 0 {
		wanted = Statuses()
	}
	names := make([]string, len(wanted))
	for i, s := range wanted {
		names[i] = string(s)
	}
	return names
}

func episode(row dbsqlc.Alert) (Episode, error) {
	lvl, err := level.Parse(row.Level)
	if err != nil {
		return Episode{}, fmt.Errorf("read alert %d: %w", row.ID, err)
	}
	e := Episode{
		ID: row.ID, Rule: row.Rule, Subject: row.Subject, Level: lvl, Status: Status(row.Status),
		Message: row.Message, Details: row.Details, Occurrences: row.Occurrences, Members: row.Members,
		Timestamp: row.LastSeen, FirstSeen: row.FirstSeen, LastSeen: row.LastSeen, ResolvedAt: row.ResolvedAt,
		SilenceID: row.SilenceID, InhibitorID: row.InhibitorID,
	}
	return e, nil
}
