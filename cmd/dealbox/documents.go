package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"dealbox/internal/app"
	"dealbox/internal/inbox"
)

// DocumentsCmd is `dealbox documents`.
type DocumentsCmd struct {
	List DocumentsListCmd `cmd:"" help:"List the documents that are dead letters, or that wait. Needs DATABASE_URL."`
}

// DocumentsListCmd is `dealbox documents list`.
type DocumentsListCmd struct {
	Dead    bool `help:"Dead letters: Dealbox has stopped trying."`
	Pending bool `help:"Those that wait for a refresh."`
	Limit   int  `default:"50" help:"At most so many (1 to 1000)."`
	JSON    bool `help:"Print JSON."`
}

// Help is shown by `dealbox documents list --help`.
func (DocumentsListCmd) Help() string {
	return "It lists documents whether or not a webhook names them: one can die in the first load or a reconciliation, too. " +
		"'dealbox events replay --dead' tries all dead ones again."
}

// Validate refuses what cannot be meant, as wrong usage.
func (c *DocumentsListCmd) Validate() error {
	if c.Limit < 1 || c.Limit > inbox.MaxLimit {
		return fmt.Errorf("--limit must be 1 to %d", inbox.MaxLimit)
	}
	if c.Dead == c.Pending {
		return errors.New("say which: --dead or --pending")
	}
	return nil
}

// Run prints them.
func (c *DocumentsListCmd) Run(ctx context.Context, p *program) error {
	state := inbox.StatePending
	if c.Dead {
		state = inbox.StateDead
	}
	ops, err := app.OpenOperations(ctx, p.getenv)
	if err != nil {
		return err
	}
	defer ops.Close()
	page, err := inbox.ListBehind(ctx, ops.Pool, state, c.Limit)
	if err != nil {
		return err
	}
	return p.print(c.JSON, page, func(w io.Writer) { printBehind(w, state, page) })
}

func printBehind(w io.Writer, state inbox.State, page inbox.BehindPage) {
	if len(page.Documents) == 0 {
		fmt.Fprintf(w, "no %s documents\n", state)
		return
	}
	fmt.Fprintln(w, "WAITS SINCE\tDEAD SINCE\tTYPE\tDOCUMENT\tNAME\tEVENTS\tFAILURES\tLAST ERROR")
	for _, d := range page.Documents {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", orDash(moment(d.PendingSince)), orDash(moment(d.DeadAt)), d.UID,
			strings.TrimSpace(oneLine(d.DocumentID)+" "+oneLine(d.Locale)), orDash(d.Name), d.Events, d.Failures, orDash(d.LastError))
	}
	if more := page.Total - int64(len(page.Documents)); more > 0 {
		fmt.Fprintf(w, "and %d more: --limit\n", more)
	}
}
