package circuit

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Run probes whenever it is due, until ctx ends. It reads the row about
// once every interval (jittered by half, so that replicas do not read it
// together); 0 means 1 s. While the breaker is closed that is one SELECT.
// Close the pool after it has returned: it gives its lease back at the end.
//
// It calls closed when it finds that the breaker has closed, whoever did that.
// It survives database errors, and logs when they begin and when they end.
func (b *Breaker) Run(ctx context.Context, every time.Duration, probe func(context.Context) error, closed func()) {
	if every <= 0 {
		every = time.Second
	}
	failing, known := false, int64(-1)
	for sleep(ctx, every/2+rand.N(every)) {
		seen, err := b.read(ctx)
		if err == nil {
			if known >= 0 && seen.Generation != known && seen.State == Closed {
				closed()
			}
			known = seen.Generation
			_, err = b.probe(ctx, seen, probe)
		}
		if ctx.Err() != nil {
			return // a lease that could not be given back runs out by itself
		}
		failing = b.logChange(ctx, failing, err)
	}
}

// logChange logs when reading the breaker begins or ceases to fail.
func (b *Breaker) logChange(ctx context.Context, failing bool, err error) bool {
	name := slog.String("breaker", b.config.Name)
	switch {
	case err != nil && !failing:
		b.config.Logger.LogAttrs(ctx, slog.LevelWarn, "circuit breaker cannot be read or written in Postgres; it is tried again each second",
			name, slog.Any("error", err))
	case err == nil && failing:
		b.config.Logger.LogAttrs(ctx, slog.LevelInfo, "circuit breaker can be read again", name)
	}
	return err != nil
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
