package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
)

const (
	skewEvery = 30 * time.Second
	// SkewAlert is worth telling: jobs start late or early by this much.
	SkewAlert = 2 * time.Second
	// SkewRefuse is from where no worker starts: River's leases and schedules would be wrong.
	SkewRefuse = 30 * time.Second
)

// skewWatch measures how far this machine's clock is from the database's.
type skewWatch struct {
	host   string // the alert's subject: another machine's clock may be right
	pool   *pgxpool.Pool
	alerts *alerting.Alerts
	clock  *jobs.Clock
	log    *slog.Logger
	streak alerting.Streak
}

// skewHysteresis: one slow answer of the database looks like skew.
var skewHysteresis = alerting.Hysteresis{RaiseAfter: 2, ClearAfter: 2}

// waitUntilSane returns once the clocks are close enough to start workers.
func (w *skewWatch) waitUntilSane(ctx context.Context) error {
	for {
		ahead, err := w.measure(ctx)
		if err == nil && ahead.Abs() <= SkewRefuse {
			return nil
		}
		w.log.Error("workers do not start: this machine's clock and the database's are too far apart; set both by NTP",
			"ahead", ahead.String(), "limit", SkewRefuse.String(), "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the clocks to agree: %w", ctx.Err())
		case <-time.After(skewEvery):
		}
	}
}

func (w *skewWatch) run(ctx context.Context) {
	tick := time.NewTicker(skewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A database that is away shows in readiness; nothing is measured meanwhile.
			if _, err := w.measure(ctx); err != nil {
				w.log.Debug("the clock skew could not be measured", "error", err)
			}
		}
	}
}

func (w *skewWatch) measure(ctx context.Context) (time.Duration, error) {
	ahead, _, err := MeasureClock(ctx, w.pool)
	if err != nil {
		return 0, err
	}
	w.clock.Set(ahead)
	w.streak = w.streak.Next(ahead.Abs() > SkewAlert)
	if !skewHysteresis.Raises(w.streak) && !skewHysteresis.Resolves(w.streak) {
		return ahead, nil
	}
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if skewHysteresis.Resolves(w.streak) {
			_, err := w.alerts.Resolve(ctx, tx, alerting.RuleClockSkew, w.host, "the clocks agree again")
			return err
		}
		_, err := w.alerts.Raise(ctx, tx, clockSkew(w.host, ahead))
		return err
	})
	return ahead, err
}

// clockSkew is alerting.RuleClockSkew.
func clockSkew(host string, ahead time.Duration) alerting.Alert {
	alert := alerting.Alert{
		Rule: alerting.RuleClockSkew, Subject: host, Level: level.Warning,
		Message: fmt.Sprintf("the clock of %s is %s ahead of the database's: set both by NTP", host, ahead.Round(time.Millisecond)),
		Details: map[string]any{"ahead_seconds": ahead.Seconds()},
	}
	if ahead.Abs() > SkewRefuse {
		alert.Level = level.Critical
		alert.Message += "; workers do not start"
	}
	return alert
}
