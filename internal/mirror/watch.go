package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/level"
	"dealbox/internal/strapi"
)

const (
	// WatchInterval is how often Strapi is asked when nothing else asks it.
	WatchInterval = 15 * time.Second
	// holdRefused and holdTransient are how long the syncs of a type wait after
	// Strapi refused one, or could not answer one while the breaker is closed.
	holdRefused   = 15 * time.Second
	holdTransient = 5 * time.Second
)

// typePauses remembers, in this process, that Strapi does not serve a type at the
// moment, so that thousands of waiting jobs do not each ask and hear the same.
type typePauses struct {
	mu    sync.Mutex
	until map[string]time.Time // by uid
}

func newHolds() *typePauses { return &typePauses{until: map[string]time.Time{}} }

// left is how long syncs of the type still have to wait; 0 when they need not.
func (h *typePauses) left(uid string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(time.Until(h.until[uid]), 0)
}

// set answers whether the type was not held before.
func (h *typePauses) set(uid string, d time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := time.Until(h.until[uid]) <= 0
	if until := time.Now().Add(d); until.After(h.until[uid]) {
		h.until[uid] = until
	}
	return fresh
}

func (h *typePauses) clear(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.until, uid)
}

// hold makes the syncs of a type wait, and raises the alert that belongs to the
// cause: once a hold, not once a job. A cause that the breaker counts has the
// breaker's alert, and a request that ran out of time was not answered.
func (w *SyncWorker) hold(ctx context.Context, t strapi.ContentType, cause error, wait time.Duration) error {
	if countsForBreaker(cause) || errors.Is(cause, circuit.ErrOpen) || errors.Is(cause, context.DeadlineExceeded) {
		w.holds.set(t.UID, max(wait, holdTransient))
		return nil
	}
	if !w.holds.set(t.UID, max(wait, holdRefused)) {
		return nil
	}
	return w.raiseUnserved(ctx, t, cause)
}

func (w *SyncWorker) raiseUnserved(ctx context.Context, t strapi.ContentType, cause error) error {
	alert := alerting.Alert{
		Rule: alerting.RuleStrapiUnusable, Subject: t.Plural, Level: level.Error,
		Message: fmt.Sprintf("Strapi answers, but not with %s as Dealbox needs them: %v", t.Plural, cause),
		Details: map[string]any{"type": t.UID, "error": cause.Error()},
	}
	if isRefused(cause) {
		alert.Rule, alert.Subject, alert.Level = alerting.RuleStrapiTokenRefused, "", level.Critical
		alert.Message = fmt.Sprintf("Strapi refuses STRAPI_API_TOKEN for %s (%v): give Dealbox a token that may find and findOne it", t.Plural, cause)
	}
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := w.alerts.Raise(ctx, tx, alert)
		return err
	})
}

func isRefused(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && e.Kind == strapi.Refused
}

// Probe asks Strapi one plain question. The breaker lets it through, once over
// all replicas, when it is due.
func (w *SyncWorker) Probe(ctx context.Context) error {
	err := w.source.client.CheckList(ctx, w.cfg.Types[0], strapi.Query{})
	if err != nil && !countsForBreaker(err) && ctx.Err() == nil {
		return nil // refused is an answer: Strapi is there, and the watch alerts
	}
	return err
}

// Watch asks Strapi for each type's list now and then, so that a refused token
// and a Strapi that is away are noticed when no webhook comes, and their alerts
// resolve by themselves. It returns when ctx ends.
func (w *SyncWorker) Watch(ctx context.Context) {
	tick := time.NewTicker(WatchInterval)
	defer tick.Stop()
	for {
		if err := w.watchOnce(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("the check of Strapi could not be recorded; the next one follows", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *SyncWorker) watchOnce(ctx context.Context) error {
	seen, err := w.source.breaker.Snapshot(ctx, w.pool)
	if err != nil || seen.State != circuit.Closed {
		return err // open: the probe asks
	}
	// Whichever replica's job or watch was refused: the alert is in the database.
	doubted, err := w.alerts.IsOpen(ctx, w.pool, alerting.RuleStrapiTokenRefused, "")
	if err != nil {
		return err
	}
	refused := false
	for _, t := range w.cfg.Types {
		err := w.serves(ctx, t, doubted)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case countsForBreaker(err):
			if err := w.source.breaker.RecordFailure(ctx, "", err); err != nil {
				return err
			}
			return nil
		case err != nil:
			refused = refused || isRefused(err)
			w.holds.set(t.UID, holdRefused)
			if err := w.raiseUnserved(ctx, t, err); err != nil {
				return err
			}
		default:
			if err := w.served(ctx, t, seen); err != nil {
				return err
			}
		}
	}
	if refused || !doubted {
		return nil
	}
	return w.resolve(ctx, alerting.RuleStrapiTokenRefused, "", "Strapi accepts the token")
}

// noDocument is a documentId that no document has, in Strapi's form.
const noDocument = "dealbox0asks0for0nothing"

// serves asks for the type's list, and while the token is doubted for a document as
// well: it may be allowed to find, but not to findOne. Strapi checks that first, so
// a document that does not exist is 403 then and not 404. Any other answer to that
// question, or none, refuses nothing.
func (w *SyncWorker) serves(ctx context.Context, t strapi.ContentType, doubted bool) error {
	err := w.source.client.CheckList(ctx, t, strapi.Query{Populate: relations(t)})
	if err != nil || !doubted {
		return err
	}
	_, err = w.source.client.Document(ctx, t, noDocument, "", strapi.Published, strapi.Query{})
	if isRefused(err) {
		return err
	}
	return nil
}

// served: the type can be read. Its jobs need not wait any longer.
func (w *SyncWorker) served(ctx context.Context, t strapi.ContentType, seen circuit.Snapshot) error {
	w.holds.clear(t.UID)
	if err := w.source.breaker.RecordSuccess(ctx, seen); err != nil {
		return err
	}
	return w.resolve(ctx, alerting.RuleStrapiUnusable, t.Plural, "Strapi serves the type again")
}

func (w *SyncWorker) resolve(ctx context.Context, rule, subject, reason string) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := w.alerts.Resolve(ctx, tx, rule, subject, reason)
		return err
	})
}
