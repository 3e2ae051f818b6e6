package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/paging"
)

// AlertsCmd is `dealbox alerts`.
type AlertsCmd struct {
	List      AlertsListCmd      `cmd:"" help:"List alerts, the one that fired last first. Needs DATABASE_URL."`
	Show      AlertsShowCmd      `cmd:"" help:"Show one alert with its history and notifications. Needs DATABASE_URL."`
	Ack       AlertsAckCmd       `cmd:"" help:"Acknowledge an alert: no notices until it resolves or its level rises. Needs DATABASE_URL."`
	Resolve   AlertsResolveCmd   `cmd:"" help:"Close an alert by hand. Needs DATABASE_URL."`
	Silence   AlertsSilenceCmd   `cmd:"" help:"Send no notifications of a rule for a while. Needs DATABASE_URL."`
	Silences  AlertsSilencesCmd  `cmd:"" help:"List the silences in force. Needs DATABASE_URL."`
	Unsilence AlertsUnsilenceCmd `cmd:"" help:"End a silence. Needs DATABASE_URL."`
	Test      AlertsTestCmd      `cmd:"" help:"Send a test through every channel and print which channels took it. Needs the ALERT_ settings."`
}

// AlertsListCmd is `dealbox alerts list`.
type AlertsListCmd struct {
	Level    []string `placeholder:"LEVEL" help:"Only these: info, warning, error, critical (comma-separated)."`
	MinLevel string   `placeholder:"LEVEL" help:"Only this level and higher ones."`
	Status   []string `placeholder:"STATUS" help:"Only these: firing, acknowledged, resolved, suppressed (comma-separated)."`
	Rule     string   `placeholder:"NAME" help:"Only this rule."`
	Since    string   `placeholder:"WHEN" help:"Last seen at or after: 2026-01-31, 2026-01-31T09:00:00Z, or an age such as 90m."`
	Until    string   `placeholder:"WHEN" help:"Last seen before."`
	Limit    int      `default:"20" help:"At most so many (1 to 1000)."`
	Cursor   string   `placeholder:"CURSOR" help:"Continue where another list ended."`
	JSON     bool     `help:"Print JSON."`
}

// Validate refuses what cannot be meant, as wrong usage.
func (c *AlertsListCmd) Validate() error {
	if c.Limit < 1 || c.Limit > alerting.MaxLimit {
		return fmt.Errorf("--limit must be 1 to %d", alerting.MaxLimit)
	}
	_, err := c.filter(time.Now())
	return err
}

// alertsListed is what `alerts list --json` prints: GET /api/v1/alerts without its summary.
type alertsListed struct {
	Alerts     []alerting.Episode `json:"alerts"`
	NextCursor *string            `json:"next_cursor"`
}

// Run prints one page.
func (c *AlertsListCmd) Run(ctx context.Context, p *program) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	page, err := alerting.List(ctx, ops.Pool, filter)
	if err != nil {
		return err
	}
	listed := alertsListed{Alerts: page.Episodes}
	if page.NextCursor != "" {
		listed.NextCursor = &page.NextCursor
	}
	return p.print(c.JSON, listed, func(w io.Writer) { printAlerts(w, page) })
}

func (c *AlertsListCmd) filter(now time.Time) (alerting.Filter, error) {
	f := alerting.Filter{Rule: c.Rule, Limit: c.Limit, Cursor: c.Cursor}
	for _, name := range c.Level {
		level, err := level.Parse(strings.TrimSpace(name))
		if err != nil {
			return f, fmt.Errorf("--level: %w", err)
		}
		f.Levels = append(f.Levels, level)
	}
	for _, name := range c.Status {
		status, err := alerting.ParseStatus(strings.TrimSpace(name))
		if err != nil {
			return f, fmt.Errorf("--status: %w", err)
		}
		f.Statuses = append(f.Statuses, status)
	}
	var err error
	if c.MinLevel != "" {
		if f.MinLevel, err = level.Parse(c.MinLevel); err != nil {
			return f, fmt.Errorf("--min-level: %w", err)
		}
	}
	if f.Since, err = parseWhen(c.Since, now); err != nil {
		return f, fmt.Errorf("--since: %w", err)
	}
	if f.Until, err = parseWhen(c.Until, now); err != nil {
		return f, fmt.Errorf("--until: %w", err)
	}
	if err := paging.CheckSpan(f.Since, f.Until); err != nil {
		return f, fmt.Errorf("--since is after --until: %s is after %s", moment(&f.Since), moment(&f.Until))
	}
	return f, nil
}

func printAlerts(w io.Writer, page alerting.Page) {
	if len(page.Episodes) == 0 {
		fmt.Fprintln(w, "no alerts")
		return
	}
	fmt.Fprintln(w, "ID\tLAST SEEN\tLEVEL\tSTATUS\tTIMES\tRULE\tMESSAGE")
	for _, e := range page.Episodes {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", e.ID, moment(&e.LastSeen), e.Level, e.Status, e.Occurrences, e.Rule, oneLine(e.Message))
	}
	if page.NextCursor != "" {
		fmt.Fprintf(w, "there are more: --cursor %s\n", page.NextCursor)
	}
}

// AlertsShowCmd is `dealbox alerts show`.
type AlertsShowCmd struct {
	ID   int64 `arg:"" help:"The alert's id."`
	JSON bool  `help:"Print JSON, as GET /api/v1/alerts/{id} answers it."`
}

// Run prints the alert with its history and notifications.
func (c *AlertsShowCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	detail, err := alerting.Get(ctx, ops.Pool, c.ID)
	if err != nil {
		return err
	}
	return p.print(c.JSON, detail, func(w io.Writer) { printAlert(w, detail) })
}

func printAlert(w io.Writer, d alerting.Detail) {
	fmt.Fprintf(w, "%d %s %s %s %s\n%s\n", d.ID, d.Level, d.Status, d.Rule, oneLine(d.Subject), oneLine(d.Message))
	fmt.Fprintf(w, "first seen %s, last seen %s, %s\n", moment(&d.FirstSeen), moment(&d.LastSeen), plural(d.Occurrences, "time", "times"))
	if len(d.Group) > 0 {
		fmt.Fprintf(w, "\nJOINED\tMEMBER (%d of %d)\tNAME\tVALUE\tREASON\tIN STRAPI\n", len(d.Group), max(d.Members, int64(len(d.Group))))
	}
	for _, m := range d.Group {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", moment(&m.JoinedAt), oneLine(m.Member), oneLine(m.Name), oneLine(m.Value), oneLine(m.Reason), oneLine(m.Link))
	}
	fmt.Fprintln(w, "\nAT\tWHAT\tLEVEL\tBY\tREASON")
	for _, e := range d.History {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", moment(&e.At), e.Kind, e.Level, oneLine(e.Actor), oneLine(e.Reason))
	}
	if len(d.Notifications) > 0 {
		fmt.Fprintln(w, "\nMADE\tCHANNEL\tREASON\tSTATUS\tATTEMPTS\tNOTE")
	}
	for _, n := range d.Notifications {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", moment(&n.CreatedAt), strings.TrimSpace(n.Channel+" "+n.Receiver), n.Reason, n.Status, n.Attempts, oneLine(note(n)))
	}
}

// note returns what an operator should know about a notification beyond its status.
func note(n notify.Notification) string {
	switch {
	case n.SuppressedBy != nil:
		return *n.SuppressedBy
	case n.LastError != nil:
		return *n.LastError
	}
	return ""
}
