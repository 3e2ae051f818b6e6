package mirror

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/level"
	"dealbox/internal/strapi"
)

const (
	// pauseRefused and pauseTransient are how long the syncs of a type wait after
	// Strapi refused one, or could not answer one while the breaker is closed.
	pauseRefused   = 15 * time.Second
	pauseTransient = 5 * time.Second
)

// pause makes the syncs of a type wait, and raises the alert that belongs to the
// cause: once a pause, not once a job. A cause that the breaker counts has the
// breaker's alert, unless it is one of this type alone, and a request that ran out of
// time was not answered.
func (w *SyncWorker) pause(ctx context.Context, t strapi.ContentType, cause error, wait time.Duration) error {
	counted := countsForBreaker(cause) && !isUnserved(cause)
	if counted || errors.Is(cause, circuit.ErrOpen) || errors.Is(cause, context.DeadlineExceeded) {
		w.paused.set(t.UID, max(wait, pauseTransient))
		return nil
	}
	if !w.paused.set(t.UID, max(wait, pauseRefused)) {
		return nil
	}
	return w.raiseUnserved(ctx, t, cause)
}

func (w *SyncWorker) raiseUnserved(ctx context.Context, t strapi.ContentType, cause error) error {
	alert := unservedAlert(t, cause)
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := w.alerts.Raise(ctx, tx, alert)
		return err
	})
}

// unservedAlert words why Strapi does not serve a type.
func unservedAlert(t strapi.ContentType, cause error) alerting.Alert {
	alert := alerting.Alert{
		Rule: alerting.RuleStrapiUnusable, Subject: t.Plural, Level: level.Error,
		Message: alerting.StrapiUnusable(t.Plural, strapi.Words(cause)),
		Details: map[string]any{"type": t.UID, "error": cause.Error()},
	}
	if missing, ok := errors.AsType[missingError](cause); ok {
		return missing.alert()
	}
	if none, ok := errors.AsType[noDocumentError](cause); ok {
		alert.Message = alerting.StrapiUnusable(t.Plural, none.inWords())
	}
	var e *strapi.Error
	if !errors.As(cause, &e) {
		return alert
	}
	for name, value := range e.Headers {
		alert.Details[name] = value
	}
	switch e.Kind {
	case strapi.Refused:
		alert.Rule, alert.Subject, alert.Level = alerting.RuleStrapiTokenRefused, "", level.Critical
		alert.Message = alerting.StrapiTokenRefused(t.Plural, strapi.Words(cause))
	case strapi.Blocked:
		alert.Rule, alert.Subject, alert.Level = alerting.RuleStrapiBlocked, "", level.Critical
		alert.Message = alerting.StrapiBlocked(strapi.Words(cause))
	}
	return alert
}

func isRefused(err error) bool { return strapi.KindOf(err) == strapi.Refused || isHidden(err) }

func isBlocked(err error) bool { return strapi.KindOf(err) == strapi.Blocked }

// typePauses remembers, in this process, that Strapi does not serve a type at the
// moment, so that thousands of waiting jobs do not each ask and get the same answer.
type typePauses struct {
	mu    sync.Mutex
	until map[string]time.Time // by uid
}

func newTypePauses() *typePauses { return &typePauses{until: map[string]time.Time{}} }

// left returns how long syncs of the type still have to wait; 0 when they need not.
func (p *typePauses) left(uid string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(time.Until(p.until[uid]), 0)
}

// set reports whether the type was not paused before.
func (p *typePauses) set(uid string, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := time.Until(p.until[uid]) <= 0
	if until := time.Now().Add(d); until.After(p.until[uid]) {
		p.until[uid] = until
	}
	return fresh
}

func (p *typePauses) clear(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.until, uid)
}
