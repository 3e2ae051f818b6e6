package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// SyncCmd is `dealbox sync`.
type SyncCmd struct {
	Full         bool     `help:"Compare every document, not only what Strapi updated since the last time."`
	Type         []string `placeholder:"TYPE" help:"Only these types: pipeline-deals, or the uid (repeatable)."`
	Document     []string `placeholder:"ID" help:"Refresh this documentId at once, also one that Dealbox has never seen, and compare nothing (repeatable)."`
	Since        string   `placeholder:"WHEN" help:"Compare at least what Strapi updated since then: 2026-01-31, 2026-01-31T09:00:00Z, or an age such as 90m."`
	Wait         bool     `help:"Wait for the end; exit 1 when it fails."`
	AllowDeletes bool     `help:"Say that what looks wrong is right, for this run and the types given alone: delete every document that it finds gone from Strapi, however many, and take over values that are empty in many documents at once. Implies --full."`
}

// Help is shown by `dealbox sync --help`.
func (SyncCmd) Help() string {
	return "The running service does the work; only a full run finds deletions and silent changes. It tries dead letters again. " +
		"It needs DATABASE_URL alone; with --type or --document also STRAPI_DEAL_TYPES and STRAPI_BILLING_TYPES, so set these as the service has them."
}

// Validate refuses what cannot be meant, as wrong usage.
func (c *SyncCmd) Validate() error {
	since, err := parseWhen(c.Since, time.Now())
	switch {
	case err != nil:
		return fmt.Errorf("--since: %w", err)
	case since.After(time.Now()):
		return fmt.Errorf("--since: %s has not come yet", moment(&since))
	case c.Since != "" && (c.Full || c.AllowDeletes):
		return errors.New("a full run compares everything, whenever it was updated: give no --since with --full or --allow-deletes")
	case len(c.Document) > 0 && (c.Since != "" || c.Full || c.AllowDeletes):
		return errors.New("--document refreshes these documents and compares nothing: give only --type and --wait with it")
	}
	for _, id := range c.Document {
		if !strapi.IsDocumentID(id) || strings.Contains(id, "/") {
			return fmt.Errorf("--document: %q cannot be a documentId: give it alone, as the address of Strapi's editor ends", oneLine(id))
		}
	}
	return nil
}

// Run requests the comparison or the refreshes and, with --wait, follows them to their end.
func (c *SyncCmd) Run(ctx context.Context, p *program) error {
	since, err := parseWhen(c.Since, time.Now())
	if err != nil {
		return err
	}
	var besides []app.Need
	if len(c.Type)+len(c.Document) > 0 {
		besides = append(besides, app.NeedTypes)
	}
	ops, err := app.OpenOperations(ctx, p.getenv, besides...)
	if err != nil {
		return err
	}
	defer ops.Close()
	if len(c.Document) > 0 {
		return c.refresh(ctx, p, ops)
	}
	id, err := ops.RequestReconciliation(ctx, app.SyncRequest{Full: c.Full, AllowDeletes: c.AllowDeletes, Types: c.Type, Since: since})
	if err != nil {
		return err
	}
	if !c.Wait {
		fmt.Fprintf(p.stdout, "requested reconciliation %d; the table reconciliation_run will have its result (--wait waits for it)\n", id)
		return nil
	}
	run, err := ops.FollowReconciliation(ctx, id, progress(p.stdout, whyItWaits(ctx, ops)))
	if err != nil {
		return stoppedWaiting(ctx, err)
	}
	return printResult(p.stdout, run, c.Type)
}

// refresh requests the refresh of single documents.
func (c *SyncCmd) refresh(ctx context.Context, p *program, ops *app.Operations) error {
	seqs, err := ops.RequestDocuments(ctx, c.Type, c.Document)
	if err != nil {
		return err
	}
	if !c.Wait {
		fmt.Fprintf(p.stdout, "requested %s; --wait waits for the end\n", plural(int64(len(seqs)), "refresh", "refreshes"))
		return nil
	}
	hint, found, failed := idleHint(p.stdout, whyItWaits(ctx, ops)), map[string]bool{}, 0
	follow := func(seqs map[mirror.Key]int64) error {
		for _, key := range slices.SortedFunc(maps.Keys(seqs), func(a, b mirror.Key) int { return strings.Compare(a.String(), b.String()) }) {
			doc, err := ops.FollowDocument(ctx, key, seqs[key], hint)
			switch {
			case err != nil:
				return stoppedWaiting(ctx, err)
			case !doc.Done:
				failed++
				found[key.DocumentID] = true
				fmt.Fprintf(p.stdout, "%s: not refreshed: %s\n", key, oneLine(doc.Problem))
			case doc.IsShown:
				found[key.DocumentID] = true
				fmt.Fprintf(p.stdout, "%s: in step with Strapi: %s\n", key, orDash(strings.TrimSpace(doc.Name+" "+doc.Value)))
			}
		}
		return nil
	}
	if err := follow(seqs); err != nil {
		return err
	}
	moved, err := ops.MovedDocuments(ctx, seqs)
	if err != nil {
		return err
	}
	if err := follow(moved); err != nil {
		return err
	}
	for _, id := range c.Document {
		if !found[id] {
			fmt.Fprintf(p.stdout, "%s: Strapi does not have it in its default locale%s, and the mirror has it in none; 'dealbox sync' finds what Strapi has in another one\n", id, among(c.Type))
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s could not be refreshed; Dealbox tries again by itself", plural(int64(failed), "document", "documents"))
	}
	return nil
}

// idleAfter is how long nobody may start the run before the command prints a hint.
const idleAfter = 10 * time.Second

// progress returns a function that draws the run as a bar on a terminal, and
// elsewhere prints only that nobody starts it.
func progress(w io.Writer, why func() string) func(dbsqlc.ReconciliationRun) {
	hint := idleHint(w, why)
	return func(run dbsqlc.ReconciliationRun) {
		if app.IsTerminal(w) && run.StartedAt != nil {
			fmt.Fprintf(w, "\r%s", bar(run))
		}
		if run.StartedAt == nil {
			hint()
		}
	}
}

// idleHint returns a function that prints once, after a while, why nothing may happen.
func idleHint(w io.Writer, why func() string) func() {
	requested, hinted := time.Now(), false
	return func() {
		if !hinted && time.Since(requested) > idleAfter {
			hinted = true
			fmt.Fprintln(w, "waiting:", cmp.Or(oneLine(why()), "it has not begun yet; check that 'dealbox serve' runs and that Strapi can be reached"))
		}
	}
}

// whyItWaits returns what asks the database for a reason. It is a hint only, so an error
// leaves the usual one.
func whyItWaits(ctx context.Context, ops *app.Operations) func() string {
	return func() string {
		why, _ := ops.WhyItWaits(ctx)
		return why
	}
}

// stoppedWaiting says what is still true after Ctrl-C.
func stoppedWaiting(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("stopped waiting; the request stands, and the running service works on it")
	}
	return err
}

// among names the types that were asked; "" where all were.
func among(types []string) string {
	if len(types) == 0 {
		return ""
	}
	return " among " + strings.Join(types, " and ")
}

// typeFlags repeats the types of a command for the next one: a permission is for them alone.
func typeFlags(types []string) string {
	flags := ""
	for _, t := range types {
		flags += " --type " + t
	}
	return flags
}

func isOrAre(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func printResult(w io.Writer, run dbsqlc.ReconciliationRun, types []string) error {
	if app.IsTerminal(w) {
		fmt.Fprintln(w)
	}
	if run.Status == "failed" {
		return fmt.Errorf("reconciliation %d failed: %s", run.ID, *run.Error)
	}
	how := "done"
	if run.Status != "done" {
		how = "done in part"
	}
	fmt.Fprintf(w, "%s: compared %s; %d missing, %d stale, %d deleted in Strapi; requested %s\n",
		how, plural(run.Listed, "document", "documents"), run.Missing, run.Stale, run.Ghosts, plural(run.Enqueued, "refresh", "refreshes"))
	if run.Odd > 0 {
		fmt.Fprintf(w, "skipped %s that Dealbox cannot use; the alert unreadable_rows names them\n", plural(run.Odd, "row", "rows"))
	}
	if run.Dead > 0 {
		fmt.Fprintf(w, "left %s alone, which Strapi has not changed since; 'dealbox sync --full' tries them again\n", plural(run.Dead, "dead letter", "dead letters"))
	}
	if run.DeadRetried > 0 {
		fmt.Fprintf(w, "tries %s again\n", plural(run.DeadRetried, "dead letter", "dead letters"))
	}
	if run.HeldNulls > 0 {
		return fmt.Errorf("%s lost an essential value in Strapi and %s held back, so the mirror keeps what it has; if that is right, run 'dealbox sync --allow-deletes%s'",
			plural(run.HeldNulls, "document", "documents"), isOrAre(run.HeldNulls), typeFlags(types))
	}
	if run.Status == "partial" {
		return fmt.Errorf("reconciliation %d could not compare every type: %s", run.ID, *run.Error)
	}
	if run.Held > 0 {
		return fmt.Errorf("the mass-delete guard holds %s back; if that is right, run 'dealbox sync --allow-deletes%s'",
			plural(run.Held, "deletion", "deletions"), typeFlags(types))
	}
	return nil
}

// barWidth in characters.
const barWidth = 30

// bar returns the state of a run on one line of a fixed width.
func bar(run dbsqlc.ReconciliationRun) string {
	full := barWidth
	if run.Expected > run.Listed {
		full = int(run.Listed * barWidth / run.Expected)
	}
	return fmt.Sprintf("[%s%s] %9d of %-9d %d to refresh ", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		run.Listed, max(run.Expected, run.Listed), run.Enqueued)
}
