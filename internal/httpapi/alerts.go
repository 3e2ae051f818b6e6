package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"dealbox/internal/alerting"
)

// readTimeout bounds the database work of one read.
const readTimeout = 5 * time.Second

type alertAnswer struct {
	ID          string          `json:"id"`
	Level       string          `json:"level"`
	Message     string          `json:"message"`
	Details     json.RawMessage `json:"details"`
	Timestamp   time.Time       `json:"timestamp"` // last_seen
	Rule        string          `json:"rule"`
	Subject     string          `json:"subject"`
	Status      string          `json:"status"`
	Occurrences int64           `json:"occurrences"`
	FirstSeen   time.Time       `json:"first_seen"`
	LastSeen    time.Time       `json:"last_seen"`
	ResolvedAt  *time.Time      `json:"resolved_at"`
}

type alertsAnswer struct {
	Alerts     []alertAnswer `json:"alerts"`
	Summary    summaryAnswer `json:"summary"`
	NextCursor *string       `json:"next_cursor"`
}

// summaryAnswer has null counts when they are unknown.
type summaryAnswer struct {
	Total    *int64            `json:"total"`
	ByLevel  map[string]*int64 `json:"by_level"`
	ByStatus map[string]*int64 `json:"by_status"`
	Recent   []alertAnswer     `json:"recent"`
}

// listAlerts answers GET /api/v1/alerts.
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
	answer := alertsAnswer{Alerts: renderAlerts(page.Episodes), Summary: renderSummary(&summary)}
	if page.NextCursor != "" {
		answer.NextCursor = &page.NextCursor
	}
	return writeJSON(w, http.StatusOK, answer)
}

func parseAlertFilter(r *http.Request) (alerting.Filter, error) {
	p := parseParams(r)
	f := alerting.Filter{
		Levels:   each(p, "level", alerting.ParseLevel),
		Statuses: each(p, "status", alerting.ParseStatus),
		Rule:     p.one("rule"),
		Since:    p.moment("since"),
		Until:    p.moment("until"),
		Limit:    p.integer("limit", 1, alerting.MaxLimit),
		Cursor:   p.one("cursor"),
	}
	if least := single(p, "min_level", alerting.ParseLevel); least != nil {
		f.MinLevel = *least
	}
	return f, p.err
}

func renderAlerts(episodes []alerting.Episode) []alertAnswer {
	all := make([]alertAnswer, len(episodes))
	for i, e := range episodes {
		all[i] = alertAnswer{
			ID: strconv.FormatInt(e.ID, 10), Level: e.Level.String(), Message: e.Message, Details: e.Details,
			Timestamp: e.LastSeen, Rule: e.Rule, Subject: e.Subject, Status: string(e.Status),
			Occurrences: e.Occurrences, FirstSeen: e.FirstSeen, LastSeen: e.LastSeen, ResolvedAt: e.ResolvedAt,
		}
	}
	return all
}

// renderSummary keeps the shape when s is nil: every count null.
func renderSummary(s *alerting.Summary) summaryAnswer {
	answer := summaryAnswer{ByLevel: map[string]*int64{}, ByStatus: map[string]*int64{}, Recent: []alertAnswer{}}
	for _, level := range alerting.Levels() {
		answer.ByLevel[level.String()] = count(s, func(s *alerting.Summary) int64 { return s.ByLevel[level] })
	}
	for _, status := range alerting.Statuses() {
		answer.ByStatus[string(status)] = count(s, func(s *alerting.Summary) int64 { return s.ByStatus[status] })
	}
	answer.Total = count(s, func(s *alerting.Summary) int64 { return s.Total })
	if s != nil {
		answer.Recent = renderAlerts(s.Recent)
	}
	return answer
}

// count is a field of what may be unknown.
func count[T, V any](from *T, field func(*T) V) *V {
	if from == nil {
		return nil
	}
	v := field(from)
	return &v
}
