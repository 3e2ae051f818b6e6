package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
)

// AlertsAckCmd is `dealbox alerts ack`.
type AlertsAckCmd struct {
	ID      int64  `arg:"" help:"The alert's id."`
	Comment string `placeholder:"TEXT" help:"What you know or do; kept in the history."`
	JSON    bool   `help:"Print JSON."`
}

// Run acknowledges the alert.
func (c *AlertsAckCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	episode, err := ops.Acknowledge(ctx, c.ID, c.Comment)
	if err != nil {
		return err
	}
	return p.printEpisode(c.JSON, episode)
}

// AlertsResolveCmd is `dealbox alerts resolve`.
type AlertsResolveCmd struct {
	ID      int64  `arg:"" help:"The alert's id."`
	Comment string `placeholder:"TEXT" help:"Why it is over; kept in the history."`
	JSON    bool   `help:"Print JSON."`
}

// Run resolves the alert.
func (c *AlertsResolveCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	episode, err := ops.Resolve(ctx, c.ID, c.Comment)
	if err != nil {
		return err
	}
	return p.printEpisode(c.JSON, episode)
}

func (p *program) printEpisode(asJSON bool, e alerting.Episode) error {
	return p.print(asJSON, e, func(w io.Writer) {
		fmt.Fprintf(w, "alert %d (%s) is %s\n", e.ID, e.Rule, e.Status)
		if e.Status == alerting.Resolved && e.Members > 0 {
			fmt.Fprintf(w, "its %s are still as they were: run 'dealbox alerts show %d'\n", plural(e.Members, "member", "members"), e.ID)
		}
	})
}

// AlertsSilenceCmd is `dealbox alerts silence`.
type AlertsSilenceCmd struct {
	Rule    string        `arg:"" help:"The rule, as 'alerts list' shows it; * is every rule."`
	Subject *string       `placeholder:"TEXT" help:"Only this subject of the rule."`
	For     time.Duration `field:"expires_at" placeholder:"DURATION" help:"How long, such as 2h."`
	Until   string        `field:"expires_at" placeholder:"WHEN" help:"Until when, such as 2026-01-31T09:00:00Z."`
	Comment string        `required:"" placeholder:"TEXT" help:"Why; kept in the history."`
	JSON    bool          `help:"Print JSON."`
}

// Validate refuses a silence without an end, as wrong usage.
func (c *AlertsSilenceCmd) Validate() error {
	if (c.For > 0) == (c.Until != "") {
		return errors.New("say how long: either --for 2h or --until a time")
	}
	if _, err := parseWhen(c.Until, time.Now()); err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	return nil
}

// Run begins the silence.
func (c *AlertsSilenceCmd) Run(ctx context.Context, p *program) error {
	until, err := parseWhen(c.Until, time.Now())
	if err != nil {
		return err
	}
	if c.For > 0 {
		until = time.Now().Add(c.For)
	}
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	s, err := ops.Silence(ctx, alerting.NewSilence{Rule: c.Rule, Subject: c.Subject, ExpiresAt: until}, c.Comment)
	if err != nil {
		return err
	}
	return p.print(c.JSON, s, func(w io.Writer) {
		fmt.Fprintf(w, "silence %d: no notifications of %s until %s\n", s.ID, silenced(s), moment(&s.ExpiresAt))
	})
}

// AlertsSilencesCmd is `dealbox alerts silences`.
type AlertsSilencesCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists the silences in force.
func (c *AlertsSilencesCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	all, err := alerting.Silences(ctx, ops.Pool)
	if err != nil {
		return err
	}
	return p.print(c.JSON, map[string][]alerting.Silence{"silences": all}, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "no silences")
			return
		}
		fmt.Fprintln(w, "ID\tUNTIL\tWHAT\tBY\tCOMMENT")
		for _, s := range all {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", s.ID, moment(&s.ExpiresAt), silenced(s), oneLine(s.Author), oneLine(s.Comment))
		}
	})
}

func silenced(s alerting.Silence) string {
	if s.Subject == nil {
		return s.Rule
	}
	return s.Rule + " " + oneLine(*s.Subject)
}

// AlertsUnsilenceCmd is `dealbox alerts unsilence`.
type AlertsUnsilenceCmd struct {
	ID   int64 `arg:"" help:"The silence's id."`
	JSON bool  `help:"Print JSON."`
}

// Run ends the silence.
func (c *AlertsUnsilenceCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	ended, err := ops.EndSilence(ctx, c.ID)
	if err != nil {
		return err
	}
	return p.print(c.JSON, ended, func(w io.Writer) {
		fmt.Fprintf(w, "silence %d ended; within a minute the service sends notifications of its alerts that are still open\n", ended.ID)
	})
}

// AlertsTestCmd is `dealbox alerts test`.
type AlertsTestCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown by `dealbox alerts test --help`.
func (AlertsTestCmd) Help() string {
	return "Sends one notification of rule 'test' to each receiver that the settings name, whatever its channel's level. " +
		"It needs no database; where DATABASE_URL is set, it records who did it. It fails if any receiver does not take it."
}

// Run sends one notification to every receiver.
func (c *AlertsTestCmd) Run(ctx context.Context, p *program) error {
	tests, err := app.TestChannels(ctx, p.getenv, p.version)
	if err != nil {
		return err
	}
	err = p.print(c.JSON, map[string][]app.ChannelTest{"channels": tests}, func(w io.Writer) { printChannelTests(w, tests) })
	failures := 0
	for _, t := range tests {
		if !t.OK {
			failures++
		}
	}
	if err == nil && failures > 0 {
		return fmt.Errorf("%d of %d receivers failed", failures, len(tests))
	}
	return err
}

func printChannelTests(w io.Writer, tests []app.ChannelTest) {
	for _, t := range tests {
		who := strings.TrimSpace(t.Channel + " " + t.Receiver)
		switch {
		case t.OK:
			fmt.Fprintf(w, "ok    %s accepted the test\n", who)
		case t.Retry:
			fmt.Fprintf(w, "fail  %s: %s (temporary: the service would try again)\n", who, oneLine(*t.Error))
		default:
			fmt.Fprintf(w, "fail  %s: %s\n", who, oneLine(*t.Error))
		}
	}
}
