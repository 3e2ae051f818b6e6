package main

import (
	"context"

	"dealbox/internal/dev"
)

// DevCmd is `dealbox dev`.
type DevCmd struct {
	Reset     bool   `help:"Empty dev's own database and simulated Strapi first."`
	StrapiURL string `name:"strapi-url" placeholder:"URL" help:"Use this Strapi (with STRAPI_API_TOKEN and STRAPI_WEBHOOK_SECRET) in place of the simulated one."`
	Port      int    `default:"8000" help:"Port on 127.0.0.1."`
}

// Help is shown by `dealbox dev --help`.
func (DevCmd) Help() string {
	return "Needs no setting. Its data is kept in your state directory until 'dealbox dev --reset'."
}

// Run starts everything and runs it until a signal.
func (c *DevCmd) Run(ctx context.Context, p *program) error {
	return dev.Run(ctx, dev.Config{
		Reset: c.Reset, StrapiURL: c.StrapiURL, Port: c.Port,
		Getenv: p.getenv, Version: p.version, Stdout: p.stdout, Stderr: p.stderr,
	})
}
