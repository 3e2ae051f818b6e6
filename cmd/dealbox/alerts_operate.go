package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
)

// AlertsAckCmd is `dealbox alerts ack`.
type AlertsAckCmd struct {
	ID      int64  `arg:"" help:"The alert's id."`
	Comment string `placeholder:"TEXT" help:"What you know or do; it is kept in the history."`
	JSON    bool   `help:"Print JSON."`
}

// Run acknowledges the alert.
func (c *AlertsAckCmd) Run(ctx context.Context, a *program) error {
	return a.operateAlert(ctx, c.JSON, func(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts) (alerting.Episode, error) {
		return alerts.Acknowledge(ctx, tx, c.ID, alerting.Operator{Name: app.Operator(), Comment: c.Comment})
	})
}

// AlertsResolveCmd is `dealbox alerts resolve`.
type AlertsResolveCmd struct {
	ID      int64  `arg:"" help:"The alert's id."`
	Comment string `placeholder:"TEXT" help:"Why it is over; it is kept in the history."`
	JSON    bool   `help:"Print JSON."`
}

// Run resolves the alert.
func (c *AlertsResolveCmd) Run(ctx context.Context, a *program) error {
	return a.operateAlert(ctx, c.JSON, func(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts) (alerting.Episode, error) {
		return alerts.ResolveByHand(ctx, tx, c.ID, alerting.Operator{Name: app.Operator(), Comment: c.Comment})
	})
}

func (a *program) operateAlert(ctx context.Context, asJSON bool, do func(context.Context, pgx.Tx, *alerting.Alerts) (alerting.Episode, error)) error {
	episode, err := inAlerts(ctx, a, do)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, episode)
	}
	fmt.Fprintf(a.stdout, "alert %d (%s) is %s\n", episode.ID, episode.Rule, episode.Status)
	return nil
}

// inAlerts makes an operator's change in one transaction.
func inAlerts[T any](ctx context.Context, a *program, do func(context.Context, pgx.Tx, *alerting.Alerts) (T, error)) (done T, err error) {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return done, err
	}
	defer pool.Close()
	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		return done, err
	}
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		done, err = do(ctx, tx, alerts)
		return err
	})
	return done, err
}

// AlertsSilenceCmd is `dealbox alerts silence`.
type AlertsSilenceCmd struct {
	Rule    string        `arg:"" help:"The rule, as 'alerts list' shows it; * is every rule."`
	Subject *string       `placeholder:"TEXT" help:"Only this subject of the rule."`
	For     time.Duration `placeholder:"DURATION" help:"How long, such as 2h."`
	Until   string        `placeholder:"WHEN" help:"Until when, such as 2026-01-31T09:00:00Z."`
	Comment string        `required:"" placeholder:"TEXT" help:"Why; it is kept in the history."`
	JSON    bool          `help:"Print JSON."`
}

// Validate refuses a silence without an end, as wrong usage.
func (c *AlertsSilenceCmd) Validate() error {
	if (c.For > 0) == (c.Until != "") {
		return errors.New("say how long: --for 2h, or --until a time")
	}
	_, err := parseWhen(c.Until, time.Now())
	return err
}

// Run begins the silence.
func (c *AlertsSilenceCmd) Run(ctx context.Context, a *program) error {
	now := time.Now()
	until, err := parseWhen(c.Until, now)
	if err != nil {
		return err
	}
	if c.For > 0 {
		until = now.Add(c.For)
	}
	made, err := inAlerts(ctx, a, func(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts) (alerting.Silence, error) {
		return alerts.Silence(ctx, tx, alerting.NewSilence{Rule: c.Rule, Subject: c.Subject, ExpiresAt: until},
			alerting.Operator{Name: app.Operator(), Comment: c.Comment})
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, made)
	}
	fmt.Fprintf(a.stdout, "silence %d: nobody hears of %s until %s\n", made.ID, silenced(made), moment(&made.ExpiresAt))
	return nil
}

func silenced(s alerting.Silence) string {
	if s.Subject == nil {
		return s.Rule
	}
	return s.Rule + " " + printable(*s.Subject)
}

// AlertsSilencesCmd is `dealbox alerts silences`.
type AlertsSilencesCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists the silences in force.
func (c *AlertsSilencesCmd) Run(ctx context.Context, a *program) error {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	all, err := alerting.Silences(ctx, pool)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, map[string][]alerting.Silence{"silences": all})
	}
	if len(all) == 0 {
		fmt.Fprintln(a.stdout, "no silences")
		return nil
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tUNTIL\tWHAT\tBY\tCOMMENT")
	for _, s := range all {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", s.ID, moment(&s.ExpiresAt), silenced(s), printable(s.Author), printable(s.Comment))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the silences: %w", err)
	}
	return nil
}

// AlertsUnsilenceCmd is `dealbox alerts unsilence`.
type AlertsUnsilenceCmd struct {
	ID   int64 `arg:"" help:"The silence's id."`
	JSON bool  `help:"Print JSON."`
}

// Run ends the silence.
func (c *AlertsUnsilenceCmd) Run(ctx context.Context, a *program) error {
	ended, err := inAlerts(ctx, a, func(ctx context.Context, tx pgx.Tx, alerts *alerting.Alerts) (alerting.Silence, error) {
		return alerts.EndSilence(ctx, tx, c.ID, app.Operator())
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, ended)
	}
	fmt.Fprintf(a.stdout, "silence %d is over; what it muted and is still open is told within a minute\n", ended.ID)
	return nil
}
