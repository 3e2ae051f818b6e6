package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/webhooksig"

	"github.com/google/uuid"
)

const (
	webhookPath = "/api/v1/webhooks/strapi"
	// sendTimeout is longer than the 8 s in which the service answers.
	sendTimeout = 15 * time.Second
	// maxAnswer of a service is shown, in bytes.
	maxAnswer = 64 << 10
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

// Run signs the body, and sends it if asked to.
func (c *SignCmd) Run(ctx context.Context, p *program) error {
	config, err := c.config(p)
	if err != nil {
		return err
	}
	body, err := p.readFile(c.File)
	if err != nil {
		return err
	}
	headers, err := signedHeaders(webhooksig.Scheme(c.Scheme), config.Webhook.Secrets[0], body)
	if err != nil {
		return err
	}
	if c.Send != "" {
		return send(ctx, p.stdout, withWebhookPath(c.Send), headers, body)
	}
	return c.print(p.stdout, headers, config.Listen.URL()+webhookPath)
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

// signedHeaders gives all headers of the delivery but its length.
func signedHeaders(scheme webhooksig.Scheme, key app.Secret, body []byte) (http.Header, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make a delivery id: %w", err)
	}
	headers, err := webhooksig.Sign(scheme, key.Reveal(), "msg_"+id.String(), time.Now(), body)
	if err != nil {
		return nil, fmt.Errorf("sign the body: %w", err)
	}
	headers.Set("Content-Type", "application/json")
	return headers, nil
}

// print shows one header a line, then the same as a command.
func (c *SignCmd) print(w io.Writer, headers http.Header, target string) error {
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

func withWebhookPath(target string) string {
	u, err := url.Parse(target)
	if err != nil || (u.Path != "" && u.Path != "/") {
		return target
	}
	u.Path = webhookPath
	return u.String()
}

// send delivers the body once and prints the answer. Redirects are not
// followed: they would turn the delivery into a GET.
func send(ctx context.Context, w io.Writer, target string, headers http.Header, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send the delivery: %w", err)
	}
	request.Header = headers
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("send the delivery: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	return printAnswer(w, response)
}

func printAnswer(w io.Writer, response *http.Response) error {
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	fmt.Fprintln(w, response.Status)
	if text := strings.TrimSpace(printable(string(answer))); text != "" {
		fmt.Fprintln(w, text)
	}
	switch {
	case response.StatusCode < 200 || response.StatusCode > 299:
		return errors.New("the delivery was not accepted: " + response.Status)
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
