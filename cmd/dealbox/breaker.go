package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
	"dealbox/internal/circuit"
	"dealbox/internal/jobs"
	"dealbox/internal/notify"
)

// BreakerCmd is `dealbox breaker`.
type BreakerCmd struct {
	Show       BreakerShowCmd       `cmd:"" help:"Show the breaker in front of Strapi and its last transitions. Needs DATABASE_URL."`
	ForceOpen  BreakerForceOpenCmd  `cmd:"" help:"Hold it open: Strapi is not asked, webhooks are kept, until a reset. Needs DATABASE_URL."`
	ForceClose BreakerForceCloseCmd `cmd:"" help:"Hold it closed: Strapi is asked whatever it answers, until a reset. Needs DATABASE_URL."`
	Reset      BreakerResetCmd      `cmd:"" help:"End what was forced and start anew: closed, nothing counted. Needs DATABASE_URL."`
}

// breakerHistory is how many transitions `show` tells of.
const breakerHistory = 10

// BreakerShowCmd is `dealbox breaker show`.
type BreakerShowCmd struct {
	JSON bool `help:"Print JSON."`
}

// breakerShown is what `breaker show --json` prints.
type breakerShown struct {
	State        circuit.State     `json:"state"`
	Forced       bool              `json:"forced"`
	FailureCount int               `json:"failure_count"`
	LastError    string            `json:"last_error"`
	OpenedAt     *time.Time        `json:"opened_at"`
	RetryAt      *time.Time        `json:"retry_at"`
	Generation   int64             `json:"generation"`
	Transitions  []transitionShown `json:"transitions"`
}

type transitionShown struct {
	At           time.Time     `json:"at"`
	From         circuit.State `json:"from"`
	To           circuit.State `json:"to"`
	FailureCount int           `json:"failure_count"`
	Actor        string        `json:"actor"`
	Reason       string        `json:"reason"`
}

// Run shows the row and the history.
func (c *BreakerShowCmd) Run(ctx context.Context, a *program) error {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	breaker := circuit.New(pool, circuit.Config{})
	now, err := breaker.Snapshot(ctx, pool)
	if err != nil {
		return err
	}
	history, err := breaker.History(ctx, pool, breakerHistory)
	if err != nil {
		return err
	}
	shown := breakerShown{
		State: now.State, Forced: now.Forced, FailureCount: now.FailureCount, LastError: now.LastError,
		OpenedAt: now.OpenedAt, RetryAt: now.RetryAt, Generation: now.Generation, Transitions: []transitionShown{},
	}
	for _, t := range history {
		shown.Transitions = append(shown.Transitions, transitionShown{t.At, t.From, t.To, t.FailureCount, t.Actor, t.Reason})
	}
	if c.JSON {
		return printJSON(a.stdout, shown)
	}
	return printBreaker(a.stdout, shown)
}

func printBreaker(w io.Writer, b breakerShown) error {
	forced := ""
	if b.Forced {
		forced = ", forced by an operator until 'dealbox breaker reset'"
	}
	fmt.Fprintf(w, "%s%s, %d failures in a row\n", b.State, forced, b.FailureCount)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if b.LastError != "" {
		fmt.Fprintf(table, "last error\t%s\n", printable(b.LastError))
	}
	if b.OpenedAt != nil {
		fmt.Fprintf(table, "open since\t%s\n", moment(b.OpenedAt))
	}
	if b.RetryAt != nil {
		fmt.Fprintf(table, "next probe\t%s\n", moment(b.RetryAt))
	}
	if len(b.Transitions) > 0 {
		fmt.Fprintln(table, "\nAT\tFROM\tTO\tFAILURES\tACTOR\tREASON")
	}
	for _, t := range b.Transitions {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", moment(&t.At), t.From, t.To, t.FailureCount, printable(t.Actor), printable(t.Reason))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the breaker: %w", err)
	}
	return nil
}

// because is why an operator moves the breaker: it is kept in the history.
type because struct {
	Reason string `required:"" placeholder:"TEXT" help:"Why; it is kept in the history."`
}

// Validate refuses a reason that says nothing, as wrong usage.
func (b because) Validate() error {
	if strings.TrimSpace(b.Reason) == "" {
		return errors.New("give a --reason: it is kept in the history")
	}
	return nil
}

// BreakerForceOpenCmd is `dealbox breaker force-open`.
type BreakerForceOpenCmd struct{ because }

// Run holds the breaker open.
func (c *BreakerForceOpenCmd) Run(ctx context.Context, a *program) error {
	return a.moveBreaker(ctx, func(b *circuit.Breaker) (string, error) {
		moved, err := b.ForceOpen(ctx, app.Operator(), c.Reason)
		return moveText(moved, "held open: Strapi is not asked until 'dealbox breaker reset' or 'force-close'", "it was held open already"), err
	})
}

// BreakerForceCloseCmd is `dealbox breaker force-close`.
type BreakerForceCloseCmd struct{ because }

// Run holds the breaker closed.
func (c *BreakerForceCloseCmd) Run(ctx context.Context, a *program) error {
	return a.moveBreaker(ctx, func(b *circuit.Breaker) (string, error) {
		moved, err := b.ForceClose(ctx, app.Operator(), c.Reason)
		return moveText(moved, "held closed: no failure opens it until 'dealbox breaker reset' or 'force-open'", "it was held closed already"), err
	})
}

// BreakerResetCmd is `dealbox breaker reset`.
type BreakerResetCmd struct{ because }

// Run ends what was forced.
func (c *BreakerResetCmd) Run(ctx context.Context, a *program) error {
	return a.moveBreaker(ctx, func(b *circuit.Breaker) (string, error) {
		return "reset: closed, nothing counted", b.Reset(ctx, app.Operator(), c.Reason)
	})
}

func moveText(moved bool, done, already string) string {
	if moved {
		return done
	}
	return already
}

// moveBreaker makes an operator's move. Its alert belongs to the transition's
// transaction, as in the service. This process knows no channel: the service notifies of it within a minute.
func (a *program) moveBreaker(ctx context.Context, move func(*circuit.Breaker) (string, error)) error {
	pool, err := a.commandPool(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	inserter, err := jobs.NewInserter(pool, nil, nil)
	if err != nil {
		return err
	}
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	said, err := move(circuit.New(pool, circuit.Config{
		Logger: slog.New(slog.DiscardHandler), OnTransition: app.BreakerAlerts(alerts),
	}))
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, said)
	return nil
}
