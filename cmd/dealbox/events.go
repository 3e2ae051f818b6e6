package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/app"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
)

// EventsCmd is `dealbox events`.
type EventsCmd struct {
	List   EventsListCmd   `cmd:"" help:"List stored events, the newest first. Needs DATABASE_URL."`
	Show   EventsShowCmd   `cmd:"" help:"Tell one event's story: delivery, document, attempts, errors, what it changed. Needs DATABASE_URL."`
	Replay EventsReplayCmd `cmd:"" help:"Look again at the documents of one event, of a filter, or of all dead letters. Needs DATABASE_URL."`
}

// eventFilter are the flags that choose events.
type eventFilter struct {
	Status   []string `placeholder:"STATUS" help:"Only these: processed, pending, dead, ignored, quarantined (comma-separated)."`
	Event    string   `placeholder:"NAME" help:"Only this event, such as entry.delete."`
	Type     string   `placeholder:"TYPE" help:"Only this type: pipeline-deal, or its uid."`
	Document string   `placeholder:"ID" help:"Only this documentId."`
	Since    string   `placeholder:"WHEN" help:"Received at or after: 2026-01-31, 2026-01-31T09:00:00Z, or an age such as 90m."`
	Until    string   `placeholder:"WHEN" help:"Received before."`
}

func (f eventFilter) filter(now time.Time) (inbox.Filter, error) {
	filter := inbox.Filter{Event: f.Event, Entity: f.Type, DocumentID: f.Document}
	for _, name := range f.Status {
		status, err := inbox.ParseStatus(strings.TrimSpace(name))
		if err != nil {
			return filter, fmt.Errorf("--status: %w", err)
		}
		filter.Statuses = append(filter.Statuses, status)
	}
	var err error
	if filter.Since, err = parseWhen(f.Since, now); err != nil {
		return filter, fmt.Errorf("--since: %w", err)
	}
	if filter.Until, err = parseWhen(f.Until, now); err != nil {
		return filter, fmt.Errorf("--until: %w", err)
	}
	return filter, nil
}

// parseWhen reads a time, a date (its midnight UTC) or an age.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time like 2026-01-31T09:00:00Z, a date, or an age such as 90m", s)
}

// EventsListCmd is `dealbox events list`.
type EventsListCmd struct {
	eventFilter

	Limit  int    `default:"20" help:"At most so many (1 to 1000)."`
	Cursor string `placeholder:"CURSOR" help:"Go on where another list ended."`
	JSON   bool   `help:"Print JSON, as GET /api/v1/events answers it."`
}

// Validate refuses what cannot be meant, as wrong usage.
func (c *EventsListCmd) Validate() error {
	if c.Limit < 1 || c.Limit > inbox.MaxLimit {
		return fmt.Errorf("--limit must be 1 to %d", inbox.MaxLimit)
	}
	_, err := c.filter(time.Now())
	return err
}

// Run prints one page.
func (c *EventsListCmd) Run(ctx context.Context, a *program) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	filter.Limit, filter.Cursor = c.Limit, c.Cursor
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	page, err := inbox.List(ctx, pool, filter)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, page)
	}
	return printEvents(a.stdout, page)
}

func printEvents(w io.Writer, page inbox.Page) error {
	if len(page.Events) == 0 {
		fmt.Fprintln(w, "no events")
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RECEIVED\tSTATUS\tEVENT\tTYPE\tDOCUMENT\tID")
	for _, e := range page.Events {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			e.ReceivedAt.Format(time.RFC3339), e.Status, orDash(e.Event), orDash(e.Entity), orDash(e.DocumentID), e.ID)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	if page.NextCursor != nil {
		fmt.Fprintf(w, "there are more: --cursor %s\n", *page.NextCursor)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// EventsShowCmd is `dealbox events show`.
type EventsShowCmd struct {
	ID   uuid.UUID `arg:"" help:"The event's id."`
	JSON bool      `help:"Print JSON, as GET /api/v1/events/{id} answers it."`
}

// Run prints the story.
func (c *EventsShowCmd) Run(ctx context.Context, a *program) error {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	story, err := inbox.Get(ctx, pool, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, story)
	}
	return printStory(a.stdout, story)
}

func printStory(w io.Writer, s inbox.Detail) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, printable(value))
		}
	}
	line("event", s.ID.String())
	line("status", string(s.Status))
	line("what", strings.TrimSpace(s.Event.Event+" "+s.UID))
	line("document", strings.TrimSpace(s.DocumentID+" "+s.Locale))
	line("quarantined", s.QuarantineReason)
	line("received", moment(&s.ReceivedAt)+", signed by scheme "+s.Scheme)
	line("sent", moment(s.SentAt))
	line("delivered", "once; deliveries that repeat it are answered with this id and not stored")
	if d := s.Document; d != nil {
		line("mirror", mirrorText(s, d))
		if d.LastError != nil {
			line("last error", fmt.Sprintf("%s (%d failures in a row)", *d.LastError, d.Failures))
		}
		line("next attempt", moment(d.NextAttemptAt))
		line("dead since", moment(d.DeadAt))
	}
	for _, j := range s.Jobs {
		line("job "+j.ID, fmt.Sprintf("%s, attempt %d, scheduled %s", j.State, j.Attempts, moment(&j.ScheduledAt)))
		for _, e := range j.Errors {
			line("  failed", fmt.Sprintf("%s (attempt %d): %s", moment(&e.At), e.Attempt, e.Error))
		}
	}
	if c := s.Changed; c != nil {
		line("changed", fmt.Sprintf("%s at %s (mirror_change %s)", c.Kind, moment(&c.At), c.ID))
	} else if s.Status == inbox.StatusProcessed {
		line("changed", "nothing: the mirror was in step already")
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the story: %w", err)
	}
	if s.Body != nil {
		fmt.Fprintf(w, "\n%s\n", printable(*s.Body))
	} else {
		fmt.Fprintf(w, "\nthe body is %d bytes and no text: --json has it in base64\n", len(s.BodyBase64))
	}
	return nil
}

func mirrorText(s inbox.Detail, d *inbox.Document) string {
	if s.Seq == nil {
		return fmt.Sprintf("%s, done %d of %d looks; this event asked for none", d.State, d.DoneSeq, d.WantSeq)
	}
	return fmt.Sprintf("%s, done %d of %d looks; this event asked for look %d", d.State, d.DoneSeq, d.WantSeq, *s.Seq)
}

func moment(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// EventsReplayCmd is `dealbox events replay`.
type EventsReplayCmd struct {
	eventFilter

	ID     *uuid.UUID `arg:"" optional:"" help:"One event. Else choose by --dead or by a filter."`
	Dead   bool       `help:"All dead letters: --status dead."`
	DryRun bool       `help:"Only count."`
	JSON   bool       `help:"Print JSON."`
}

// Help is shown by `dealbox events replay --help`.
func (EventsReplayCmd) Help() string {
	return "A replay asks Strapi again for each document, which is always safe: the mirror takes what Strapi says now. " +
		"A dead document is alive again. Ignored and quarantined events are read anew by STRAPI_DEAL_TYPES and STRAPI_BILLING_TYPES, " +
		"so give the service's values where they are set."
}

// Validate refuses a replay of everything by mistake, as wrong usage.
func (c *EventsReplayCmd) Validate() error {
	filter, err := c.filter(time.Now())
	switch {
	case err != nil:
		return err
	case c.ID != nil && (c.Dead || filter.Chooses()):
		return errors.New("give one event's id, or a filter, not both")
	case c.Dead && len(filter.Statuses) > 0:
		return errors.New("--dead is --status dead: give one of them")
	case c.ID == nil && !c.Dead && !filter.Chooses():
		return errors.New("say what to replay: an event's id, --dead, or a filter such as --document or --since")
	}
	return nil
}

// Run replays, or counts.
func (c *EventsReplayCmd) Run(ctx context.Context, a *program) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	if c.Dead {
		filter.Statuses = []inbox.Status{inbox.StatusDead}
	}
	config, err := app.LoadConfig(a.getenv, app.NeedDatabase, app.NeedTypes)
	if err != nil {
		return err
	}
	pool, err := a.openCommandPool(ctx, config, replayPool)
	if err != nil {
		return err
	}
	defer pool.Close()
	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		return err
	}
	replays := inbox.NewReplayer(pool, mirror.NewQueue(inserter), config.Strapi.Types)
	var done inbox.Replayed
	if c.ID != nil {
		done, err = replays.One(ctx, *c.ID, c.DryRun)
	} else {
		done, err = replays.All(ctx, filter, c.DryRun)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, done)
	}
	fmt.Fprintln(a.stdout, replayText(done))
	return nil
}

func replayText(r inbox.Replayed) string {
	var nothing string
	if r.NothingToReplay > 0 {
		nothing = fmt.Sprintf("; %s no document of a configured type, so there is nothing to replay", plural(r.NothingToReplay, "event names", "events name"))
	}
	if r.DryRun {
		return fmt.Sprintf("%s: %s would be looked at again%s (nothing was changed)", plural(r.Events, "event", "events"), plural(r.Documents, "document", "documents"), nothing)
	}
	return fmt.Sprintf("%s: a look at %s is asked for%s", plural(r.Events, "event", "events"), plural(r.Documents, "document", "documents"), nothing)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// replayPool is for a replay, which may have to choose among millions of events.
var replayPool = app.PoolOptions{MaxConns: 2, StatementTimeout: 5 * time.Minute, LockTimeout: 2 * time.Second}

// commandPool opens the service's database for a command that needs no other setting.
func (a *program) commandPool(ctx context.Context) (*pgxpool.Pool, error) {
	config, err := app.LoadConfig(a.getenv, app.NeedDatabase)
	if err != nil {
		return nil, err
	}
	return a.openCommandPool(ctx, config, app.CommandPool)
}

func (a *program) openCommandPool(ctx context.Context, config app.Config, options app.PoolOptions) (*pgxpool.Pool, error) {
	pool, err := app.OpenPool(ctx, config.Database.URL, options)
	if err != nil {
		return nil, err
	}
	if err := app.Ping(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	return pool, nil
}
