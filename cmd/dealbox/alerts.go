package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

// AlertsCmd is `dealbox alerts`.
type AlertsCmd struct {
	List      AlertsListCmd      `cmd:"" help:"List alerts, the one that fired last first. Needs DATABASE_URL."`
	Show      AlertsShowCmd      `cmd:"" help:"Show one alert with its history and notifications. Needs DATABASE_URL."`
	Ack       AlertsAckCmd       `cmd:"" help:"Say that you look after an alert: no reminders until it resolves or worsens. Needs DATABASE_URL."`
	Resolve   AlertsResolveCmd   `cmd:"" help:"Close an alert by hand. Needs DATABASE_URL."`
	Silence   AlertsSilenceCmd   `cmd:"" help:"Hear nothing of a rule for a while. Needs DATABASE_URL."`
	Silences  AlertsSilencesCmd  `cmd:"" help:"List the silences in force. Needs DATABASE_URL."`
	Unsilence AlertsUnsilenceCmd `cmd:"" help:"End a silence. Needs DATABASE_URL."`
	Test      AlertsTestCmd      `cmd:"" help:"Send a test through every channel and say what came of it. Needs the ALERT_ settings."`
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
	Cursor   string   `placeholder:"CURSOR" help:"Go on where another list ended."`
	JSON     bool     `help:"Print JSON."`
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
	return f, nil
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
func (c *AlertsListCmd) Run(ctx context.Context, a *app) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	page, err := alerting.List(ctx, pool, filter)
	if err != nil {
		return err
	}
	if c.JSON {
		listed := alertsListed{Alerts: page.Episodes}
		if page.NextCursor != "" {
			listed.NextCursor = &page.NextCursor
		}
		return printJSON(a.stdout, listed)
	}
	return printAlerts(a.stdout, page)
}

func printAlerts(w io.Writer, page alerting.Page) error {
	if len(page.Episodes) == 0 {
		fmt.Fprintln(w, "no alerts")
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tLAST SEEN\tLEVEL\tSTATUS\tTIMES\tRULE\tMESSAGE")
	for _, e := range page.Episodes {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", e.ID, moment(&e.LastSeen), e.Level, e.Status, e.Occurrences, e.Rule, printable(e.Message))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	if page.NextCursor != "" {
		fmt.Fprintf(w, "there are more: --cursor %s\n", page.NextCursor)
	}
	return nil
}

// AlertsShowCmd is `dealbox alerts show`.
type AlertsShowCmd struct {
	ID   int64 `arg:"" help:"The alert's id."`
	JSON bool  `help:"Print JSON, as GET /api/v1/alerts/{id} answers it."`
}

// Run shows the episode and what happened to it.
func (c *AlertsShowCmd) Run(ctx context.Context, a *app) error {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	story, err := alerting.Get(ctx, pool, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, story)
	}
	return printAlert(a.stdout, story)
}

func printAlert(w io.Writer, s alerting.Detail) error {
	fmt.Fprintf(w, "%d %s %s %s %s\n%s\n", s.ID, s.Level, s.Status, s.Rule, printable(s.Subject), printable(s.Message))
	fmt.Fprintf(w, "first seen %s, last seen %s, %d times\n", moment(&s.FirstSeen), moment(&s.LastSeen), s.Occurrences)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Group) > 0 {
		fmt.Fprintf(table, "\nJOINED\tMEMBER (%d of %d)\tNAME\tREASON\n", len(s.Group), max(s.Members, int64(len(s.Group))))
	}
	for _, m := range s.Group {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", moment(&m.JoinedAt), printable(m.Member), printable(m.Name), printable(m.Reason))
	}
	fmt.Fprintln(table, "\nAT\tWHAT\tLEVEL\tBY\tREASON")
	for _, e := range s.History {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", moment(&e.At), e.Kind, e.Level, printable(e.Actor), printable(e.Reason))
	}
	if len(s.Notifications) > 0 {
		fmt.Fprintln(table, "\nMADE\tCHANNEL\tREASON\tSTATUS\tATTEMPTS\tNOTE")
	}
	for _, n := range s.Notifications {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", moment(&n.CreatedAt), strings.TrimSpace(n.Channel+" "+n.Receiver), n.Reason, n.Status, n.Attempts, printable(note(n)))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the alert: %w", err)
	}
	return nil
}

// note says what is worth knowing about a notification beyond its status.
func note(n notify.Notification) string {
	switch {
	case n.SuppressedBy != nil:
		return *n.SuppressedBy
	case n.LastError != nil:
		return *n.LastError
	}
	return ""
}
