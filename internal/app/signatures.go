package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
)

// signatureWindow is how long the webhook counts refused deliveries before an alert can
// be raised. A quiet Strapi sends a few webhooks in that time.
const signatureWindow = 5 * time.Minute

// signatureWatch raises an alert when the webhook refuses deliveries as not authentic:
// one transaction a window, however many it refused.
type signatureWatch struct {
	take   func() alerting.SignatureWindow
	pool   *pgxpool.Pool
	alerts *alerting.Alerts
	log    *slog.Logger
	// suspect is carried from window to window, until a delivery is accepted.
	suspect alerting.Suspect
}

func (w *signatureWatch) run(ctx context.Context) {
	tick := time.NewTicker(signatureWindow)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.evaluate(ctx, w.take())
		}
	}
}

// evaluate raises the alert of a window, and resolves the alerts that an accepted
// delivery disproves.
//
// Failure policy: open. If the database is away the window is lost; a wrong secret
// shows in the next one, too.
func (w *signatureWatch) evaluate(ctx context.Context, window alerting.SignatureWindow) {
	alert, suspect := alerting.EvaluateSignatures(w.suspect, window)
	w.suspect = suspect
	if alert == nil && window.Accepted == 0 {
		return
	}
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if window.Accepted > 0 {
			for _, subject := range alerting.OwnSignatureFailures() {
				if _, err := w.alerts.Resolve(ctx, tx, alerting.RuleSignatureFailures, subject, alerting.EndSignatureFailures); err != nil {
					return err
				}
			}
		}
		if alert == nil {
			return nil
		}
		_, err := w.alerts.Raise(ctx, tx, *alert)
		return err
	})
	if err != nil {
		w.log.Error("the alert about refused webhook signatures could not be stored; the next window has them, if they go on",
			"error", err, "refused", window.Refused.Total(), "accepted", window.Accepted)
	}
}
