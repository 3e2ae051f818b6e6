package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
)

// SyncCmd is `dealbox sync`.
type SyncCmd struct {
	Full         bool `help:"Compare every document, not only what Strapi updated since the last time."`
	Wait         bool `help:"Wait for the end; exit 1 when it fails."`
	AllowDeletes bool `help:"Say that what looks wrong is right, for this run alone: delete every document that it finds gone from Strapi, however many, and take over values that are empty in many documents at once. Implies --full."`
}

// Help is shown by `dealbox sync --help`.
func (SyncCmd) Help() string {
	return "The running service does the work; only a full run finds deletions and silent changes. It tries dead letters again. Of the settings it needs DATABASE_URL alone."
}

// Run requests the comparison and, with --wait, follows it to its end.
func (c *SyncCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	id, err := ops.RequestReconciliation(ctx, c.Full, c.AllowDeletes)
	if err != nil {
		return err
	}
	if !c.Wait {
		fmt.Fprintf(p.stdout, "requested reconciliation %d; the table reconciliation_run will have its result (--wait waits for it)\n", id)
		return nil
	}
	run, err := ops.FollowReconciliation(ctx, id, progress(p.stdout))
	if err != nil {
		return err
	}
	return printResult(p.stdout, run)
}

// idleAfter is how long nobody may start the run before the command prints a hint.
const idleAfter = 10 * time.Second

// progress returns a function that draws the run as a bar on a terminal, and
// elsewhere prints only that nobody starts it.
func progress(w io.Writer) func(dbsqlc.ReconciliationRun) {
	requested, hinted := time.Now(), false
	return func(run dbsqlc.ReconciliationRun) {
		if app.IsTerminal(w) && run.StartedAt != nil {
			fmt.Fprintf(w, "\r%s", bar(run))
		}
		if run.StartedAt == nil && !hinted && time.Since(requested) > idleAfter {
			hinted = true
			fmt.Fprintln(w, "waiting: no service has started it yet; check that 'dealbox serve' runs and that Strapi can be reached")
		}
	}
}

func printResult(w io.Writer, run dbsqlc.ReconciliationRun) error {
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
		return fmt.Errorf("%d documents lost an essential value and are held back, so the mirror keeps their values; if that is right, run 'dealbox sync --full --allow-deletes'", run.HeldNulls)
	}
	if run.Status == "partial" {
		return fmt.Errorf("reconciliation %d could not compare every type: %s", run.ID, *run.Error)
	}
	if run.Held > 0 {
		return fmt.Errorf("the mass-delete guard holds %d deletions back; if they are right, run 'dealbox sync --allow-deletes'", run.Held)
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
