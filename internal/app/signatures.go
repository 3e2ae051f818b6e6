package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/alerting"
)

const (
	// signatureWindow is how long the webhook counts refused deliveries before they can be
	// called a stranger's.
	signatureWindow = 5 * time.Minute
	// signatureTick is how often the count is read: our own Strapi with a wrong secret
	// shows after a few deliveries, and so does the first that is accepted again.
	signatureTick = 10 * time.Second
)

// signatureWatch raises an alert when the webhook refuses deliveries as not authentic:
// at most one transaction a tick, however many it refused.
type signatureWatch struct {
	take   func() alerting.SignatureWindow
	pool   *pgxpool.Pool
	alerts *alerting.Alerts
	log    *slog.Logger
	// window is what was counted since the last evaluation, and begun when that was.
	window alerting.SignatureWindow
	begun  time.Time
	// suspect is carried from window to window, until a delivery is accepted.
	suspect alerting.Suspect
}

func (w *signatureWatch) run(ctx context.Context) {
	w.begun = time.Now()
	tick := time.NewTicker(signatureTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.step(ctx, time.Now())
		}
	}
}

// step evaluates the window when it is over, or before that as soon as it says that our
// own Strapi is refused, or is accepted again.
func (w *signatureWatch) step(ctx context.Context, now time.Time) {
	w.window = w.window.Plus(w.take())
	again := w.window.Accepted > 0 && w.suspect.Deliveries > 0
	if !again && !alerting.IsOwnStrapiRefused(w.suspect, w.window) && now.Sub(w.begun) < signatureWindow {
		return
	}
	w.evaluate(ctx, w.window)
	w.window, w.begun = alerting.SignatureWindow{}, now
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
