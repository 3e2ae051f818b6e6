package app

import (
	"context"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/level"
)

// BreakerAlerts returns what raises and resolves the breaker's alert, in the
// transaction of its transition. The breaker itself knows nothing of alerts: circuit
// imports no stage.
func BreakerAlerts(alerts *alerting.Alerts) func(context.Context, pgx.Tx, circuit.Transition) error {
	return func(ctx context.Context, tx pgx.Tx, t circuit.Transition) error {
		if t.To == circuit.Closed {
			_, err := alerts.Resolve(ctx, tx, alerting.RuleBreakerOpened, t.Name, breakerEnd(t))
			return err
		}
		if t.To != circuit.Open || t.From == circuit.HalfOpen {
			return nil // a probe that failed is the same outage
		}
		_, err := alerts.Raise(ctx, tx, alerting.Alert{
			Rule: alerting.RuleBreakerOpened, Subject: t.Name, Level: level.Critical,
			Message: breakerMessage(t),
			Details: map[string]any{"failure_count": t.FailureCount, "reason": t.Reason, "actor": t.Actor},
		})
		return err
	}
}

func breakerMessage(t circuit.Transition) string {
	if t.Forced {
		return alerting.BreakerForced(t.Actor, t.Reason)
	}
	return alerting.BreakerOpened(t.LastError)
}

func breakerEnd(t circuit.Transition) string {
	if t.Actor != circuit.Self {
		return alerting.EndBreakerByHand(t.Actor, t.Reason)
	}
	return alerting.EndBreakerOpened
}
