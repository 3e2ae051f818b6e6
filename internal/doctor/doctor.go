// Package doctor checks the settings and everything that they name: database,
// schema, roles, clocks, Strapi, alert channels. It changes nothing.
package doctor

import (
	"context"
	"slices"
	"sync"
	"time"

	"dealbox/internal/app"
)

// Examine runs every check at the same time and returns the findings in a fixed
// order. A check fails by itself: none waits for another, and each takes 12 s at most.
func Examine(ctx context.Context, getenv func(string) string, version string) []Finding {
	config, err := app.LoadConfig(getenv, append(slices.Clone(app.Everything), app.NeedMigrateIfSet)...)
	d := doctor{config: config, problems: app.ProblemsOf(err), version: version}
	examinations := []func(context.Context) []Finding{
		d.settings, d.access, d.webhookSecrets, d.database, d.strapi, d.strapiClock, d.alertWebhook, d.alertEmail,
	}
	results := make([][]Finding, len(examinations))
	var wait sync.WaitGroup
	for i, examine := range examinations {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, examineTimeout)
			defer cancel()
			results[i] = examine(ctx)
		})
	}
	wait.Wait()
	return slices.Concat(results...)
}

// examineTimeout bounds one examination, whatever it waits for.
const examineTimeout = 12 * time.Second

// doctor examines what the settings name.
type doctor struct {
	config   app.Config
	problems []app.Problem
	version  string
}
