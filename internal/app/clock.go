package app

import (
	"context"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/health"
	"dealbox/internal/level"
)

// clockConfig returns what raises and resolves the alert of clock skew. health itself
// knows nothing of alerts: alerting imports it.
func (s *Service) clockConfig(host string) health.ClockConfig {
	return health.ClockConfig{
		Host: host, Pool: s.pool, Clock: s.clock, Logger: s.log, Stopped: s.stoppedByClock,
		Raise: func(ctx context.Context, tx pgx.Tx, a health.SkewAlert) error {
			_, err := s.alerts.Raise(ctx, tx, clockAlert(a))
			return err
		},
		Resolve: func(ctx context.Context, tx pgx.Tx, host, _ string) error {
			_, err := s.alerts.Resolve(ctx, tx, alerting.RuleClockSkew, host, alerting.EndClockSkew(host))
			return err
		},
	}
}

func clockAlert(a health.SkewAlert) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleClockSkew, Subject: a.Host, Level: a.Level,
		Message: alerting.ClockSkew(a.Host, health.Skew(a.Ahead).String(), a.Level == level.Critical),
		Details: map[string]any{"ahead_seconds": a.Ahead.Seconds()},
	}
}
