package main

import (
	"context"
	"fmt"
	"net"

	"dealbox/internal/app"
)

// ServeCmd is `dealbox serve`.
type ServeCmd struct {
	Role string `enum:"all,api,worker" default:"all" help:"What this process does: all, api (HTTP only) or worker (jobs; of HTTP health, readiness and metrics alone)."`
}

// Help is shown by `dealbox serve --help`.
func (ServeCmd) Help() string {
	return "Needs DATABASE_URL, STRAPI_URL, STRAPI_API_TOKEN and STRAPI_WEBHOOK_SECRET (or STRAPI_WEBHOOK_TOKEN). " +
		"It never migrates: run 'dealbox migrate up' first. It waits for a database that is away."
}

// Run is `dealbox serve`.
func (c *ServeCmd) Run(ctx context.Context, p *program) error {
	config, err := app.LoadConfig(p.getenv, app.Everything...)
	if err != nil {
		return err
	}
	logger := app.NewLogger(p.stderr, config.Log)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Listen.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s (LISTEN_ADDR, PORT): %w", config.Listen.Addr, err)
	}
	s, err := app.New(ctx, config, c.Role, p.version, logger)
	if err != nil {
		_ = listener.Close()
		return err
	}
	return s.Run(ctx, listener)
}
