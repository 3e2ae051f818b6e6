package app

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
)

// BreakerAlerts returns what raises and resolves the breaker's alert, in the
// transaction of its transition. The breaker itself knows nothing of alerts: circuit
// imports no stage.
func BreakerAlerts(alerts *alerting.Alerts) func(context.Context, pgx.Tx, circuit.Transition) error {
	return func(ctx context.Context, tx pgx.Tx, t circuit.Transition) error {
		if t.To == circuit.Closed {
			waiting, err := dbsqlc.New().EntityWaiting(ctx, tx)
			if err != nil {
				return fmt.Errorf("count what waits for Strapi: %w", err)
			}
			_, err = alerts.Resolve(ctx, tx, alerting.RuleBreakerOpened, t.Name, breakerClosed(t, waiting))
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

// breakerClosed words the end of an outage, or of what an operator held open.
func breakerClosed(t circuit.Transition, waiting dbsqlc.EntityWaitingRow) string {
	after := ""
	if t.WasOpenSince != nil {
		after = " after " + outage(t.At.Sub(*t.WasOpenSince))
	}
	said := "Strapi answers again" + after
	if t.Actor != circuit.Self {
		said = fmt.Sprintf("%s closed the breaker%s (%s)", t.Actor, after, t.Reason)
	}
	switch {
	case waiting.Webhooks > 0:
		return fmt.Sprintf("%s; %s waited, none is lost, and Dealbox processes them now", said, count(waiting.Webhooks, "webhook"))
	case waiting.Documents > 0:
		return fmt.Sprintf("%s; %s waited, and Dealbox refreshes them now", said, count(waiting.Documents, "document"))
	}
	return said + "; nothing waited"
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// outage words a duration, such as "31 s", "12 min" or "3 h 5 min".
func outage(d time.Duration) string {
	switch minutes := int(d.Round(time.Minute).Minutes()); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case minutes < 120:
		return fmt.Sprintf("%d min", minutes)
	default:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	}
}

func breakerMessage(t circuit.Transition) string {
	if t.Forced {
		return fmt.Sprintf("%s holds the breaker open (%s): Dealbox sends Strapi no request and stores every webhook until 'dealbox breaker reset'", t.Actor, t.Reason)
	}
	return fmt.Sprintf("Strapi does not work (%s): Dealbox sends it no request, stores every webhook and continues by itself when Strapi works again; check Strapi and its proxy", t.Reason)
}
