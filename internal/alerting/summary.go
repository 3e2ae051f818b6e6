package alerting

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

const (
	// recentEpisodes is how many a summary shows.
	recentEpisodes = 5
	// defaultWindow and maxWindow are how far back a review window begins.
	defaultWindow = 24 * time.Hour
	maxWindow     = 31 * 24 * time.Hour
)

// Summary counts the episodes that are kept, whatever a list's filters.
type Summary struct {
	Total int64
	// ByLevel and ByStatus have every level and every status, also at 0; ByRule has
	// the rules that ever fired.
	ByLevel  map[level.Level]int64
	ByStatus map[Status]int64
	ByRule   map[string]int64
	// Recent are the 5 that fired last.
	Recent []Episode
}

// Summarize returns the summary. Its counts come from one statement, so they
// always add up.
func Summarize(ctx context.Context, db dbsqlc.DBTX) (Summary, error) {
	s := Summary{ByLevel: map[level.Level]int64{}, ByStatus: map[Status]int64{}, ByRule: map[string]int64{}}
	for _, l := range level.All() {
		s.ByLevel[l] = 0
	}
	for _, st := range Statuses() {
		s.ByStatus[st] = 0
	}
	rows, err := dbsqlc.New().AlertCount(ctx, db)
	if err != nil {
		return Summary{}, fmt.Errorf("count alerts: %w", err)
	}
	for _, row := range rows {
		lvl, err := level.Parse(row.Level)
		if err != nil {
			return Summary{}, fmt.Errorf("count alerts: %w", err)
		}
		s.Total += row.Episodes
		s.ByLevel[lvl] += row.Episodes
		s.ByStatus[Status(row.Status)] += row.Episodes
		s.ByRule[row.Rule] += row.Episodes
	}
	recent, err := List(ctx, db, Filter{Limit: recentEpisodes})
	if err != nil {
		return Summary{}, err
	}
	s.Recent = recent.Episodes
	return s, nil
}

// Window is what happened to alerts in a span of whole hours, UTC.
type Window struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	ByHour []Hour    `json:"by_hour"` // those in which something happened
	// TimeToResolve is of the episodes that were resolved in the span.
	TimeToResolve TimeToResolve `json:"time_to_resolve"`
	// Notifications are counted by what became of them; an episode that was muted
	// counts as one suppressed.
	Notifications Outcomes `json:"notifications"`
}

// Hour counts the episodes that began and ended in it.
type Hour struct {
	Hour     time.Time `json:"hour"`
	Raised   int64     `json:"raised"`
	Resolved int64     `json:"resolved"`
}

// TimeToResolve is null where nothing was resolved.
type TimeToResolve struct {
	Resolved       int64    `json:"resolved"`
	MeanSeconds    *float64 `json:"mean_seconds"`
	LongestSeconds *float64 `json:"longest_seconds"`
}

// Outcomes of notifications.
type Outcomes struct {
	Sent       int64 `json:"sent"`
	Failed     int64 `json:"failed"`
	Suppressed int64 `json:"suppressed"`
}

// ReviewWindow returns what happened in the hours from since to until; zero values are the
// last 24 hours up to now. A span that cannot be used gives a *FieldError.
func ReviewWindow(ctx context.Context, db dbsqlc.DBTX, since, until time.Time) (Window, error) {
	if until.IsZero() {
		until = time.Now()
	}
	if since.IsZero() {
		since = until.Add(-defaultWindow)
	}
	r := Window{Since: since.UTC().Truncate(time.Hour), Until: until.UTC().Add(time.Hour - 1).Truncate(time.Hour), ByHour: []Hour{}}
	switch {
	case !since.Before(until):
		return r, &FieldError{Field: "since", Problem: "it must be before until"}
	case until.Sub(since) > maxWindow:
		return r, &FieldError{Field: "since", Problem: "a summary goes back 31 days at most"}
	}
	rows, err := dbsqlc.New().AlertHours(ctx, db, dbsqlc.AlertHoursParams{Since: r.Since, Until: r.Until})
	if err != nil {
		return r, fmt.Errorf("read what happened to alerts: %w", err)
	}
	var open, longest float64
	for _, row := range rows {
		r.ByHour = append(r.ByHour, Hour{Hour: row.Hour, Raised: row.Raised, Resolved: row.Resolved})
		r.TimeToResolve.Resolved += row.Resolved
		r.Notifications.Sent += row.Sent
		r.Notifications.Failed += row.Failed
		r.Notifications.Suppressed += row.Suppressed
		open += row.OpenSeconds
		longest = max(longest, row.OpenLongest)
	}
	if n := r.TimeToResolve.Resolved; n > 0 {
		mean := open / float64(n)
		r.TimeToResolve.MeanSeconds, r.TimeToResolve.LongestSeconds = &mean, &longest
	}
	return r, nil
}

// fold adds up what the triggers have counted, so that summaries stay cheap.
func (a *Alerts) fold(ctx context.Context, tx pgx.Tx) (int, error) {
	if err := a.queries.AlertTallyFold(ctx, tx); err != nil {
		return 0, fmt.Errorf("fold the counts of alerts: %w", err)
	}
	if err := a.queries.AlertHourFold(ctx, tx); err != nil {
		return 0, fmt.Errorf("fold the hours of alerts: %w", err)
	}
	return 0, nil
}
