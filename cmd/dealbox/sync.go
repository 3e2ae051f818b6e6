package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
)

// SyncCmd is `dealbox sync`.
type SyncCmd struct {
	Full         bool `help:"Compare every document, not only what Strapi updated since the last time."`
	Wait         bool `help:"Wait for the end; exit 1 when it fails."`
	AllowDeletes bool `help:"Believe deletions that the mass-delete guard holds back, for an hour. Means --full."`
}

// Help is shown by `dealbox sync --help`.
func (SyncCmd) Help() string {
	return "Asks the running service; only a full run finds deletions and silent changes. Needs DATABASE_URL and nothing else."
}

// Run writes the request and, with --wait, follows the run.
func (c *SyncCmd) Run(ctx context.Context, a *program) error {
	config, err := app.LoadConfig(a.getenv, app.NeedDatabase)
	if err != nil {
		return err
	}
	pool, err := app.OpenPool(ctx, config.Database.URL, app.CommandPool)
	if err != nil {
		return err
	}
	defer pool.Close()
	id, err := c.request(ctx, pool)
	if err != nil {
		return err
	}
	if !c.Wait {
		fmt.Fprintf(a.stdout, "reconciliation %d is asked for; 'dealbox sync --wait' or the table reconciliation_run shows what came of it\n", id)
		return nil
	}
	return follow(ctx, pool, id, a.stdout)
}

func (c *SyncCmd) request(ctx context.Context, pool *pgxpool.Pool) (id int64, err error) {
	inserter, err := jobs.NewInserter(pool, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	r := mirror.Request{Extent: mirror.Delta, Trigger: mirror.TriggerDemand, Actor: app.Operator(), AllowDeletes: c.AllowDeletes}
	if c.Full || c.AllowDeletes {
		r.Extent = mirror.Full
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		id, err = mirror.NewQueue(inserter).Reconcile(ctx, tx, r)
		return err
	})
	return id, err
}

// followEvery is how often the run's row is read.
const followEvery = 200 * time.Millisecond

// idleAfter is when a run that nobody starts is worth a word.
const idleAfter = 10 * time.Second

// follow shows the run until it is over: as a bar on a terminal, else its end alone.
func follow(ctx context.Context, pool *pgxpool.Pool, id int64, w io.Writer) error {
	asked, told := time.Now(), false
	for {
		run, err := dbsqlc.New().ReconciliationGet(ctx, pool, id)
		if err != nil {
			return fmt.Errorf("read reconciliation %d: %w", id, err)
		}
		if app.IsTerminal(w) && run.StartedAt != nil {
			fmt.Fprintf(w, "\r%s", bar(run))
		}
		if run.FinishedAt != nil {
			return tell(w, run)
		}
		if run.StartedAt == nil && !told && time.Since(asked) > idleAfter {
			told = true
			fmt.Fprintln(w, "waiting: no service took it yet (does 'dealbox serve' run, and is Strapi there?)")
		}
		if err := pause(ctx, followEvery); err != nil {
			return err
		}
	}
}

func tell(w io.Writer, run dbsqlc.ReconciliationRun) error {
	if app.IsTerminal(w) {
		fmt.Fprintln(w)
	}
	if run.Status == "failed" {
		return fmt.Errorf("reconciliation %d failed: %s", run.ID, *run.Error)
	}
	fmt.Fprintf(w, "done: %d documents compared, %d missing, %d stale, %d gone in Strapi; %d are brought in step\n",
		run.Listed, run.Missing, run.Stale, run.Ghosts, run.Enqueued)
	if run.Held > 0 {
		return errors.New(heldText(run.Held))
	}
	return nil
}

func heldText(held int64) string {
	return fmt.Sprintf("%d deletions are held back by the mass-delete guard; if they are right, run 'dealbox sync --allow-deletes'", held)
}

// barWidth in characters.
const barWidth = 30

// bar is the state of a run on one line of a fixed width.
func bar(run dbsqlc.ReconciliationRun) string {
	full := barWidth
	if run.Expected > run.Listed {
		full = int(run.Listed * barWidth / run.Expected)
	}
	return fmt.Sprintf("[%s%s] %9d of %-9d %d to do ", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
		run.Listed, max(run.Expected, run.Listed), run.Enqueued)
}
