package mirror

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/strapi"
)

// WatchInterval is how often Watch asks Strapi.
const WatchInterval = 15 * time.Second

// Watch asks Strapi for the list of each type every WatchInterval, so that a refused
// token and a Strapi that is away are noticed when no webhook comes, and their alerts
// resolve by themselves. It returns when ctx ends.
func (w *SyncWorker) Watch(ctx context.Context) {
	tick := time.NewTicker(WatchInterval)
	defer tick.Stop()
	for {
		if err := w.watchOnce(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("could not record whether Strapi serves its types; the next check follows", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *SyncWorker) watchOnce(ctx context.Context) error {
	breaker, err := w.source.Breaker(ctx)
	if err != nil || breaker.State != circuit.Closed {
		return err // open: the probe asks
	}
	// Whichever replica's job or watch was refused: the alert is in the database.
	doubted, err := w.alerts.IsOpen(ctx, w.pool, alerting.RuleStrapiTokenRefused, "")
	if err != nil {
		return err
	}
	refused := false
	for _, t := range w.cfg.Types {
		err := w.checkServed(ctx, t, doubted)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case countsForBreaker(err):
			return w.source.breaker.RecordFailure(ctx, "", err)
		case err != nil:
			refused = refused || isRefused(err)
			w.paused.set(t.UID, pauseRefused)
			if err := w.raiseUnserved(ctx, t, err); err != nil {
				return err
			}
		default:
			if err := w.served(ctx, t, breaker); err != nil {
				return err
			}
		}
	}
	if refused || !doubted {
		return nil
	}
	return w.resolve(ctx, alerting.RuleStrapiTokenRefused, "", alerting.EndStrapiTokenRefused)
}

// noDocument is a documentId that no document has, in Strapi's form.
const noDocument = "dealbox0asks0for0nothing"

// checkServed asks for the type's list, and while the token is doubted for a document
// as well: it may be allowed to find, but not to findOne. Strapi checks that first, so
// a document that does not exist is 403 then and not 404. Any other answer to that
// request, or none, refuses nothing.
func (w *SyncWorker) checkServed(ctx context.Context, t strapi.ContentType, doubted bool) error {
	err := w.source.check(ctx, t)
	if err != nil || !doubted {
		return err
	}
	_, err = w.source.client.Document(ctx, t, noDocument, "", strapi.Published, strapi.Query{})
	if isRefused(err) {
		return err
	}
	return nil
}

// served ends the pause of a type that can be read.
func (w *SyncWorker) served(ctx context.Context, t strapi.ContentType, breaker circuit.Snapshot) error {
	w.paused.clear(t.UID)
	if err := w.source.breaker.RecordSuccess(ctx, breaker); err != nil {
		return err
	}
	if err := w.resolve(ctx, alerting.RuleAttributeMissing, t.Plural, alerting.EndAttributeMissing(t.Plural)); err != nil {
		return err
	}
	if err := w.reportUnknown(ctx, t); err != nil {
		return err
	}
	return w.resolve(ctx, alerting.RuleStrapiUnusable, t.Plural, alerting.EndStrapiUnusable(t.Plural))
}

func (w *SyncWorker) resolve(ctx context.Context, rule, subject, reason string) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := w.alerts.Resolve(ctx, tx, rule, subject, reason)
		return err
	})
}

// Probe makes one plain request to Strapi. The breaker lets it through, once over
// all replicas, when it is due.
func (w *SyncWorker) Probe(ctx context.Context) error {
	err := w.source.client.CheckList(ctx, w.cfg.Types[0], strapi.Query{})
	if err != nil && !countsForBreaker(err) && ctx.Err() == nil {
		return nil // a refusal is an answer: Strapi is there, and Watch raises the alert
	}
	return err
}
