package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"dealbox/internal/app"
	"dealbox/internal/webhooksig"
)

// SignCmd is `dealbox sign`.
type SignCmd struct {
	File   string `required:"" placeholder:"body.json" help:"The body to sign, byte for byte; - reads it from standard input."`
	Scheme string `enum:"standard,timestamped,strapi" default:"standard" help:"standard, timestamped or strapi (signs the body alone, so it does not expire)."`
	Send   string `placeholder:"URL" help:"Deliver it there and print the answer; a URL without a path gets /api/v1/webhooks/strapi."`
}

// Help is shown by `dealbox sign --help`.
func (SignCmd) Help() string {
	return "Prints the headers that make the body pass verification, and a curl command that delivers it. " +
		"Signs with the first secret of STRAPI_WEBHOOK_SECRET. With --send it fails unless the answer is a 2xx."
}

// Validate makes a bad --send wrong usage.
func (c *SignCmd) Validate() error {
	if c.Send == "" {
		return nil
	}
	if _, wrong := app.ParseWebURL(c.Send); wrong != "" {
		return fmt.Errorf("--send: the URL %s", wrong)
	}
	return nil
}

// Run signs the body, and sends it with --send.
func (c *SignCmd) Run(ctx context.Context, p *program) error {
	config, err := c.config(p)
	if err != nil {
		return err
	}
	body, err := p.readFile(c.File)
	if err != nil {
		return err
	}
	delivery, err := app.SignDelivery(config.Webhook, webhooksig.Scheme(c.Scheme), body)
	if err != nil {
		return err
	}
	if c.Send == "" {
		return c.printHeaders(p.stdout, delivery.Headers, config.Listen.URL()+app.WebhookPath)
	}
	answer, err := delivery.Send(ctx, c.Send)
	if err != nil {
		return err
	}
	return printAnswer(p.stdout, answer)
}

// config reads the address only for the curl command that is printed.
func (c *SignCmd) config(p *program) (app.Config, error) {
	if c.Send != "" {
		return app.LoadConfig(p.getenv, app.NeedSigning)
	}
	return app.LoadConfig(p.getenv, app.NeedSigning, app.NeedListen)
}

func (p *program) readFile(name string) ([]byte, error) {
	if name == "-" {
		body, err := io.ReadAll(p.stdin)
		if err != nil {
			return nil, fmt.Errorf("read the body from standard input: %w", err)
		}
		return body, nil
	}
	body, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}

// printHeaders prints one header a line, then a curl command with all of them.
func (c *SignCmd) printHeaders(w io.Writer, headers http.Header, target string) error {
	var out, curl strings.Builder
	curl.WriteString("curl -sS " + quoteShell(target))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		line := strings.ToLower(name) + ": " + headers.Get(name)
		out.WriteString(line + "\n")
		curl.WriteString(" \\\n  -H " + quoteShell(line))
	}
	curl.WriteString(" \\\n  --data-binary " + quoteShell("@"+c.File))
	if _, err := fmt.Fprintf(w, "%s\n%s\n", out.String(), curl.String()); err != nil {
		return fmt.Errorf("print the headers: %w", err)
	}
	return nil
}

// quoteShell quotes one word for a POSIX shell.
func quoteShell(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func printAnswer(w io.Writer, answer app.Answer) error {
	fmt.Fprintln(w, answer.Status)
	if text := strings.TrimSpace(printable(answer.Body)); text != "" {
		fmt.Fprintln(w, text)
	}
	if answer.Code < 200 || answer.Code > 299 {
		return errors.New("the delivery was not accepted: " + answer.Status)
	}
	return nil
}
