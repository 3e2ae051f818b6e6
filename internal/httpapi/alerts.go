package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// readTimeout bounds the database work of one read.
const readTimeout = 5 * time.Second

type alertsAnswer struct {
	Alerts     []alerting.Episode `json:"alerts"`
	Summary    summaryAnswer      `json:"summary"`
	NextCursor *string            `json:"next_cursor"`
}

// summaryAnswer has null counts when they are unknown.
type summaryAnswer struct {
	Total    *int64             `json:"total"`
	ByLevel  map[string]*int64  `json:"by_level"`
	ByStatus map[string]*int64  `json:"by_status"`
	Recent   []alerting.Episode `json:"recent"`
}

// listAlerts serves GET /api/v1/alerts.
func (a *API) listAlerts(w http.ResponseWriter, r *http.Request) error {
	filter, err := parseAlertFilter(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	page, err := alerting.List(ctx, a.stages.DB, filter)
	if err != nil {
		return err
	}
	summary, err := alerting.Summarize(ctx, a.stages.DB)
	if err != nil {
		return err
	}
	answer := alertsAnswer{Alerts: page.Episodes, Summary: renderSummary(&summary)}
	if page.NextCursor != "" {
		answer.NextCursor = &page.NextCursor
	}
	return writeJSON(w, http.StatusOK, answer)
}

// alertSummaryAnswer counts the episodes kept, and what happened in a period.
type alertSummaryAnswer struct {
	summaryAnswer
	ByRule map[string]int64 `json:"by_rule"`
	alerting.Window
}

// summarizeAlerts serves GET /api/v1/alerts/summary?since=&until=.
func (a *API) summarizeAlerts(w http.ResponseWriter, r *http.Request) error {
	p := parseParams(r)
	since, until := p.moment("since"), p.moment("until")
	if p.err != nil {
		return p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	summary, err := alerting.Summarize(ctx, a.stages.DB)
	if err != nil {
		return err
	}
	review, err := alerting.ReviewWindow(ctx, a.stages.DB, since, until)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, alertSummaryAnswer{renderSummary(&summary), summary.ByRule, review})
}

// showAlert serves GET /api/v1/alerts/{id}: the episode with its history and
// notifications.
func (a *API) showAlert(w http.ResponseWriter, r *http.Request) error {
	id, err := rowID(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	alert, err := alerting.Get(ctx, a.stages.DB, id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, alert)
}

// rowID returns the id of an alert or a silence from the path.
func rowID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(mux.Vars(r)["id"], 10, 64)
	if err != nil || id < 1 {
		return 0, invalidParameter("id", "it must be a whole number")
	}
	return id, nil
}

func parseAlertFilter(r *http.Request) (alerting.Filter, error) {
	p := parseParams(r)
	f := alerting.Filter{
		Levels:   each(p, "level", level.Parse),
		Statuses: each(p, "status", alerting.ParseStatus),
		Rule:     p.one("rule"),
		Since:    p.moment("since"),
		Until:    p.moment("until"),
		Limit:    p.integer("limit", 1, alerting.MaxLimit),
		Cursor:   p.one("cursor"),
	}
	if least := single(p, "min_level", level.Parse); least != nil {
		f.MinLevel = *least
	}
	return f, p.err
}

// renderSummary keeps the shape when s is nil: then every count is null.
func renderSummary(s *alerting.Summary) summaryAnswer {
	answer := summaryAnswer{ByLevel: map[string]*int64{}, ByStatus: map[string]*int64{}, Recent: []alerting.Episode{}}
	for _, level := range level.All() {
		answer.ByLevel[level.String()] = count(s, func(s *alerting.Summary) int64 { return s.ByLevel[level] })
	}
	for _, status := range alerting.Statuses() {
		answer.ByStatus[string(status)] = count(s, func(s *alerting.Summary) int64 { return s.ByStatus[status] })
	}
	answer.Total = count(s, func(s *alerting.Summary) int64 { return s.Total })
	if s != nil {
		answer.Recent = s.Recent
	}
	return answer
}

// count returns a field of from, and nil when from is not known.
func count[T, V any](from *T, field func(*T) V) *V {
	if from == nil {
		return nil
	}
	v := field(from)
	return &v
}
