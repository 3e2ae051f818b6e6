package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/circuit"
)

// BreakerCmd is `dealbox breaker`.
type BreakerCmd struct {
	Show       BreakerShowCmd       `cmd:"" help:"Show the breaker in front of Strapi and its last transitions. Needs DATABASE_URL."`
	ForceOpen  BreakerForceOpenCmd  `cmd:"" help:"Hold it open until a reset: Dealbox sends Strapi no request and keeps every webhook. Needs DATABASE_URL."`
	ForceClose BreakerForceCloseCmd `cmd:"" help:"Hold it closed until a reset: Dealbox keeps sending Strapi requests, however many fail. Needs DATABASE_URL."`
	Reset      BreakerResetCmd      `cmd:"" help:"Give it back to its own rules: closed, no failures counted. Needs DATABASE_URL."`
}

// breakerHistory is how many transitions `show` prints.
const breakerHistory = 10

// BreakerShowCmd is `dealbox breaker show`.
type BreakerShowCmd struct {
	JSON bool `help:"Print JSON."`
}

// breakerShown is what `breaker show --json` prints.
type breakerShown struct {
	State        circuit.State     `json:"state"`
	Forced       bool              `json:"forced"`
	Since        *time.Time        `json:"since"`
	Actor        string            `json:"actor"`
	Reason       string            `json:"reason"`
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

// Run prints the breaker's state and its last transitions.
func (c *BreakerShowCmd) Run(ctx context.Context, p *program) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	now, err := ops.Breaker.Snapshot(ctx, ops.Pool)
	if err != nil {
		return err
	}
	history, err := ops.Breaker.History(ctx, ops.Pool, breakerHistory)
	if err != nil {
		return err
	}
	shown := breakerShown{
		State: now.State, Forced: now.Forced, FailureCount: now.FailureCount, LastError: now.LastError,
		OpenedAt: now.OpenedAt, RetryAt: now.RetryAt, Generation: now.Generation, Transitions: []transitionShown{},
	}
	if !now.ChangedAt.IsZero() {
		shown.Since, shown.Actor, shown.Reason = &now.ChangedAt, now.ChangedBy, now.Reason
	}
	for _, t := range history {
		shown.Transitions = append(shown.Transitions, transitionShown{t.At, t.From, t.To, t.FailureCount, t.Actor, t.Reason})
	}
	return p.print(c.JSON, shown, func(w io.Writer) { printBreaker(w, shown) })
}

func printBreaker(w io.Writer, b breakerShown) {
	forced := ""
	if b.Forced {
		forced = fmt.Sprintf(", forced by %s since %s (%s) until 'dealbox breaker reset'", oneLine(b.Actor), moment(b.Since), oneLine(b.Reason))
	}
	fmt.Fprintf(w, "%s%s, %s in a row\n", b.State, forced, plural(int64(b.FailureCount), "failure", "failures"))
	if b.LastError != "" {
		fmt.Fprintf(w, "last error\t%s\n", oneLine(b.LastError))
	}
	if b.OpenedAt != nil {
		fmt.Fprintf(w, "open since\t%s\n", moment(b.OpenedAt))
	}
	if b.RetryAt != nil {
		fmt.Fprintf(w, "next probe\t%s\n", moment(b.RetryAt))
	}
	if len(b.Transitions) > 0 {
		fmt.Fprintln(w, "\nAT\tFROM\tTO\tFAILURES\tACTOR\tREASON")
	}
	for _, t := range b.Transitions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", moment(&t.At), t.From, t.To, t.FailureCount, oneLine(t.Actor), oneLine(t.Reason))
	}
}

// breakerReason is why an operator holds the breaker.
type breakerReason struct {
	Reason string `required:"" placeholder:"TEXT" help:"Why; kept in the history."`
}

// Validate refuses an empty reason, as wrong usage.
func (r breakerReason) Validate() error {
	if strings.TrimSpace(r.Reason) == "" {
		return errors.New("give a --reason: it is kept in the history")
	}
	return nil
}

// BreakerForceOpenCmd is `dealbox breaker force-open`.
type BreakerForceOpenCmd struct{ breakerReason }

// Run holds the breaker open.
func (c *BreakerForceOpenCmd) Run(ctx context.Context, p *program) error {
	return p.moveBreaker(ctx, func(ops *app.Operations) (string, error) {
		moved, err := ops.Breaker.ForceOpen(ctx, app.Operator(), c.Reason)
		if err == nil && !moved {
			return heldAlready(ctx, ops)
		}
		return "held open: Dealbox sends Strapi no request until 'dealbox breaker reset' or 'force-close'", err
	})
}

// BreakerForceCloseCmd is `dealbox breaker force-close`.
type BreakerForceCloseCmd struct{ breakerReason }

// Run holds the breaker closed.
func (c *BreakerForceCloseCmd) Run(ctx context.Context, p *program) error {
	return p.moveBreaker(ctx, func(ops *app.Operations) (string, error) {
		moved, err := ops.Breaker.ForceClose(ctx, app.Operator(), c.Reason)
		if err == nil && !moved {
			return heldAlready(ctx, ops)
		}
		return "held closed: no failure opens it until 'dealbox breaker reset' or 'force-open'", err
	})
}

// BreakerResetCmd is `dealbox breaker reset`.
type BreakerResetCmd struct {
	Reason string `placeholder:"TEXT" help:"Why; kept in the history."`
}

// Run gives the breaker back to its own rules.
func (c *BreakerResetCmd) Run(ctx context.Context, p *program) error {
	return p.moveBreaker(ctx, func(ops *app.Operations) (string, error) {
		return "reset: closed, no failures counted", ops.Breaker.Reset(ctx, app.Operator(), c.Reason)
	})
}

// heldAlready says who holds the breaker so, and why: a second reason is not kept.
func heldAlready(ctx context.Context, ops *app.Operations) (string, error) {
	now, err := ops.Breaker.Snapshot(ctx, ops.Pool)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("nothing changed: %s holds it %s already, since %s (%s)", oneLine(now.ChangedBy), now.State, moment(&now.ChangedAt), oneLine(now.Reason)), nil
}

func (p *program) moveBreaker(ctx context.Context, move func(*app.Operations) (string, error)) error {
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	done, err := move(ops)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, done)
	return nil
}
