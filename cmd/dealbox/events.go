package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"dealbox/internal/app"
	"dealbox/internal/inbox"
	"dealbox/internal/paging"
)

// EventsCmd is `dealbox events`.
type EventsCmd struct {
	List   EventsListCmd   `cmd:"" help:"List stored events, the newest first. Needs DATABASE_URL."`
	Show   EventsShowCmd   `cmd:"" help:"Show one event: delivery, document, attempts, errors, what it changed. Needs DATABASE_URL."`
	Replay EventsReplayCmd `cmd:"" help:"Request a refresh of the documents of one event, of a filter, or of all dead letters. Needs DATABASE_URL."`
}

// eventFilter are the flags that choose events.
type eventFilter struct {
	Status   []string `placeholder:"STATUS" help:"Only these: processed, pending, dead, ignored, quarantined (comma-separated)."`
	Event    string   `placeholder:"NAME" help:"Only this event, such as entry.delete."`
	Type     string   `field:"entity" placeholder:"TYPE" help:"Only this type: pipeline-deal, or its uid."`
	Document string   `field:"document_id" placeholder:"ID" help:"Only this documentId."`
	Since    string   `placeholder:"WHEN" help:"Received at or after: 2026-01-31, 2026-01-31T09:00:00Z, or an age such as 90m."`
	Until    string   `placeholder:"WHEN" help:"Received before."`
}

// EventsListCmd is `dealbox events list`.
type EventsListCmd struct {
	eventFilter

	Limit  int    `default:"20" help:"At most so many (1 to 1000)."`
	Cursor string `placeholder:"CURSOR" help:"Continue where another list ended."`
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
func (c *EventsListCmd) Run(ctx context.Context, p *program) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	filter.Limit, filter.Cursor = c.Limit, c.Cursor
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	page, err := inbox.List(ctx, ops.Pool, filter)
	if err != nil {
		return err
	}
	if err := p.print(c.JSON, page, func(w io.Writer) { printEvents(w, page) }); err != nil || c.JSON {
		return err
	}
	return p.printWithoutEvent(ctx, ops, filter)
}

// printWithoutEvent says how many documents are dead or wait that no event names: a
// list of events cannot show them.
func (p *program) printWithoutEvent(ctx context.Context, ops *app.Operations, f inbox.Filter) error {
	for _, state := range []inbox.State{inbox.StateDead, inbox.StatePending} {
		if !slices.Contains(f.Statuses, inbox.Status(state)) {
			continue
		}
		n, err := inbox.CountWithoutEvent(ctx, ops.Pool, state)
		if err != nil {
			return err
		}
		if n > 0 {
			fmt.Fprintf(p.stdout, "%s that no event names: dealbox documents list --%s\n", plural(n, string(state)+" document", string(state)+" documents"), state)
		}
	}
	return nil
}

func printEvents(w io.Writer, page inbox.Page) {
	if len(page.Events) == 0 {
		fmt.Fprintln(w, "no events")
		return
	}
	fmt.Fprintln(w, "RECEIVED\tSTATUS\tEVENT\tTYPE\tDOCUMENT\tID")
	for _, e := range page.Events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
			e.ReceivedAt.Format(time.RFC3339), e.Status, orDash(e.Event), orDash(e.Entity), orDash(e.DocumentID), e.ID)
	}
	if page.NextCursor != nil {
		fmt.Fprintf(w, "there are more: --cursor %s\n", *page.NextCursor)
	}
}

// EventsShowCmd is `dealbox events show`.
type EventsShowCmd struct {
	ID   uuid.UUID `arg:"" help:"The event's id."`
	JSON bool      `help:"Print JSON, as GET /api/v1/events/{id} answers it."`
}

// Run prints the event with what it led to, and its body.
func (c *EventsShowCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	detail, err := inbox.Get(ctx, ops.Pool, c.ID)
	if err != nil {
		return err
	}
	if err := p.print(c.JSON, detail, func(w io.Writer) { printEvent(w, detail) }); err != nil || c.JSON {
		return err
	}
	if n := detail.NotKept; n != nil {
		fmt.Fprintf(p.stdout, "\nthe body is %d bytes, over WEBHOOK_MAX_BYTES, so it was verified and not stored; its SHA-256 is %s\n", n.Bytes, n.SHA256)
		return nil
	}
	if detail.Body == nil {
		fmt.Fprintf(p.stdout, "\nthe body is %s and no text: --json has it in base64\n", plural(int64(len(detail.BodyBase64)), "byte", "bytes"))
		return nil
	}
	fmt.Fprintf(p.stdout, "\n%s\n", printable(*detail.Body))
	return nil
}

func printEvent(w io.Writer, d inbox.Detail) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, oneLine(value))
		}
	}
	line("event", d.ID.String())
	line("status", string(d.Status))
	line("what", strings.TrimSpace(d.Event.Event+" "+d.UID))
	line("document", strings.TrimSpace(d.DocumentID+" "+d.Locale))
	line("quarantined", d.QuarantineReason)
	line("received", moment(&d.ReceivedAt)+", signed by scheme "+d.Scheme)
	line("sent", moment(d.SentAt))
	line("delivered", "once; Dealbox answers a repeated delivery with this id and does not store it")
	if m := d.Document; m != nil {
		line("mirror", mirrorText(d, m))
		if m.LastError != nil {
			line("last error", fmt.Sprintf("%s (%s in a row)", *m.LastError, plural(int64(m.Failures), "failure", "failures")))
		}
		if m.DeadAt == nil {
			line("next attempt", moment(m.NextAttemptAt))
		}
		line("dead since", moment(m.DeadAt))
	}
	for _, j := range d.Jobs {
		line("job "+j.ID, fmt.Sprintf("%s, attempt %d, scheduled %s", j.State, j.Attempts, moment(&j.ScheduledAt)))
		for _, e := range j.Errors {
			line("  failed", fmt.Sprintf("%s (attempt %d): %s", moment(&e.At), e.Attempt, e.Error))
		}
	}
	if c := d.Changed; c != nil {
		line("changed", fmt.Sprintf("%s at %s (mirror_change %s)", c.Kind, moment(&c.At), c.ID))
	} else if d.Status == inbox.StatusProcessed {
		line("changed", "nothing: the mirror was up to date")
	}
}

func mirrorText(d inbox.Detail, m *inbox.Document) string {
	if d.Seq == nil {
		return fmt.Sprintf("%s, refresh %d of %d done; this event requested none", m.State, m.DoneSeq, m.WantSeq)
	}
	return fmt.Sprintf("%s, refresh %d of %d done; this event requested refresh %d", m.State, m.DoneSeq, m.WantSeq, *d.Seq)
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
	return "A replay fetches each document from Strapi again, which is always safe: the mirror takes what Strapi has now. " +
		"It tries a dead document again. It reads ignored and quarantined events by STRAPI_DEAL_TYPES and STRAPI_BILLING_TYPES, " +
		"so set these as the service has them."
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
func (c *EventsReplayCmd) Run(ctx context.Context, p *program) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	if c.Dead {
		filter.Statuses = []inbox.Status{inbox.StatusDead}
	}
	replays, err := app.OpenReplays(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer replays.Close()
	var done inbox.Replayed
	if c.ID != nil {
		done, err = replays.One(ctx, *c.ID, app.Operator(), c.DryRun)
	} else {
		done, err = replays.All(ctx, filter, app.Operator(), c.DryRun)
	}
	if err != nil {
		return err
	}
	return p.print(c.JSON, done, func(w io.Writer) { fmt.Fprintln(w, replayText(done)) })
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
	if err := paging.CheckSpan(filter.Since, filter.Until); err != nil {
		return filter, fmt.Errorf("--since is after --until: %s is after %s", moment(&filter.Since), moment(&filter.Until))
	}
	return filter, nil
}

func replayText(r inbox.Replayed) string {
	events, documents := plural(r.Events, "event", "events"), plural(r.Documents, "document", "documents")
	if r.WithoutEvent > 0 {
		documents += fmt.Sprintf(", %d of them without an event", r.WithoutEvent)
	}
	var nothing string
	if r.NothingToReplay > 0 {
		nothing = fmt.Sprintf("; there is nothing to replay for %s without a document of a configured type", plural(r.NothingToReplay, "event", "events"))
	}
	if r.DryRun {
		return fmt.Sprintf("%s: would request a refresh of %s%s (nothing was changed)", events, documents, nothing)
	}
	return fmt.Sprintf("%s: requested a refresh of %s%s", events, documents, nothing)
}
