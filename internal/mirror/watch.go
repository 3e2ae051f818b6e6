package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// WatchInterval is how often Watch asks Strapi.
const WatchInterval = 15 * time.Second

// Watch asks Strapi for the list of each type every WatchInterval, and when the
// breaker has closed, so that a refused token and a Strapi that is away are noticed
// when no webhook comes, their alerts resolve by themselves, and what waited for
// Strapi goes on. It returns when ctx ends.
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
		case <-w.closed:
		}
	}
}

// BreakerClosed makes Watch ask at once.
func (w *SyncWorker) BreakerClosed() {
	select {
	case w.closed <- struct{}{}:
	default: // it has been asked to already
	}
}

func (w *SyncWorker) watchOnce(ctx context.Context) error {
	breaker, err := w.source.Breaker(ctx)
	if err != nil || breaker.State != circuit.Closed {
		return err // open: the probe asks
	}
	if err := w.forgetTypes(ctx); err != nil {
		return err
	}
	d, err := w.readDoubts(ctx)
	if err != nil {
		return err
	}
	unanswered, refused := map[string]error{}, map[strapi.ErrorKind]bool{}
	for _, t := range w.cfg.Types {
		err := w.checkServed(ctx, t, d)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case countsForBreaker(err) && !isUnserved(err):
			unanswered[t.UID] = err
		case err != nil:
			refused[strapi.Refused] = refused[strapi.Refused] || isRefused(err)
			refused[strapi.Blocked] = refused[strapi.Blocked] || isBlocked(err)
			if err := w.unserved(ctx, t, err); err != nil {
				return err
			}
		default:
			if err := w.served(ctx, t, d); err != nil {
				return err
			}
		}
	}
	if err := w.recordWatch(ctx, unanswered); err != nil {
		return err
	}
	return w.resolveRefusals(ctx, d, refused)
}

// rulesOfType are those whose subject is a type, or a type and a field, and which only what
// reads the type can end.
var rulesOfType = []string{
	alerting.RuleAttributeMissing, alerting.RuleAttributeUnknown, alerting.RuleMassChange, alerting.RuleMassDeleteGuard, alerting.RuleMassNullGuard,
	alerting.RulePublishedTwice, alerting.RuleReconciliationFailing, alerting.RuleStrapiUnusable, alerting.RuleUnreadableRows, alerting.RuleValueUnreadable,
}

// forgetTypes ends, once a process, what waits for types that are not in the settings any more:
// else the forecast would wait for them for ever, and their alerts would stay open.
func (w *SyncWorker) forgetTypes(ctx context.Context) error {
	if w.forgotTypes {
		return nil
	}
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		if err := dbsqlc.New().StrapiAttributesForget(ctx, tx, slices.Sorted(maps.Keys(w.types))); err != nil {
			return fmt.Errorf("forget the types that are not in the settings: %w", err)
		}
		isGone := func(subject string) bool {
			plural, _, _ := strings.Cut(subject, ".")
			return !slices.ContainsFunc(w.cfg.Types, func(t strapi.ContentType) bool { return t.Plural == plural })
		}
		for _, rule := range rulesOfType {
			if err := w.alerts.ResolveSubjects(ctx, tx, rule, isGone, alerting.EndTypeGone); err != nil {
				return err
			}
		}
		isGoneUnnamed := func(subject string) bool {
			plural, ok := alerting.TypeOfUnnamed(subject)
			return ok && isGone(plural)
		}
		return w.alerts.ResolveSubjects(ctx, tx, alerting.RuleBodyQuarantined, isGoneUnnamed, alerting.EndTypeGone)
	})
	w.forgotTypes = err == nil
	return err
}

// doubts are the alerts that are open about how Strapi answers, whichever replica's
// job or watch raised them. They make the watch ask for more than lists.
type doubts struct {
	token, blocked bool
	unusable       map[string]bool // by the type's plural
}

func (w *SyncWorker) readDoubts(ctx context.Context) (d doubts, err error) {
	d.unusable = map[string]bool{}
	if d.token, err = w.alerts.IsOpen(ctx, w.pool, alerting.RuleStrapiTokenRefused, ""); err != nil {
		return d, err
	}
	if d.blocked, err = w.alerts.IsOpen(ctx, w.pool, alerting.RuleStrapiBlocked, ""); err != nil {
		return d, err
	}
	for _, t := range w.cfg.Types {
		if d.unusable[t.Plural], err = w.alerts.IsOpen(ctx, w.pool, alerting.RuleStrapiUnusable, t.Plural); err != nil {
			return d, err
		}
	}
	return d, nil
}

// checkServed asks for the type's list, and where that is doubted for documents as
// well. A token may be allowed to find, but not to findOne, and a firewall may let
// lists pass alone: Strapi checks a token first, so a document that does not exist is
// 403 then and not 404. Any other answer to that request, or none, refuses nothing. A
// type whose documents failed is served again when one of them is answered.
func (w *SyncWorker) checkServed(ctx context.Context, t strapi.ContentType, d doubts) error {
	if err := w.source.patiently(ctx, listTimeout, func(ctx context.Context) error { return w.source.check(ctx, t) }); err != nil {
		return err
	}
	if d.token || d.blocked {
		if err := w.source.askNothing(ctx, t); isRefused(err) || isBlocked(err) {
			return err
		}
	}
	if !d.unusable[t.Plural] {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, classifyTimeout)
	defer cancel()
	err := w.source.checkPeers(bounded, t, Key{UID: t.UID})
	var away databaseError
	if err == nil || errors.As(err, &away) {
		return err
	}
	return aboutType(err)
}

// unserved makes the syncs of a type wait that Strapi does not serve, for a time at least.
func (w *SyncWorker) unserved(ctx context.Context, t strapi.ContentType, cause error) error {
	if !w.outlasted(ctx, t, cause) {
		w.paused.set(t.UID, pauseRefused)
	}
	return w.raiseUnserved(ctx, t, cause)
}

// served ends the pause of a type that can be read, and lets go on what waited for it.
func (w *SyncWorker) served(ctx context.Context, t strapi.ContentType, d doubts) error {
	w.paused.clear(t.UID)
	if d.unusable[t.Plural] {
		if err := w.resolve(ctx, alerting.RuleStrapiUnusable, t.Plural, alerting.EndStrapiUnusable(t.Plural)); err != nil {
			return err
		}
	}
	if err := w.resolve(ctx, alerting.RuleAttributeMissing, t.Plural, alerting.EndAttributeMissing(t.Plural)); err != nil {
		return err
	}
	if err := w.reportUnknown(ctx, t); err != nil {
		return err
	}
	return w.queue.Wake(ctx, w.pool, t.UID)
}

// recordWatch records on the breaker what the lists showed. If all were unanswered it
// is Strapi; if some were, it is those types.
func (w *SyncWorker) recordWatch(ctx context.Context, unanswered map[string]error) error {
	if len(unanswered) < len(w.cfg.Types) {
		if err := w.source.breaker.RecordSuccess(ctx); err != nil {
			return err
		}
		for _, t := range w.cfg.Types {
			if err := unanswered[t.UID]; err != nil {
				if err := w.unserved(ctx, t, err); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, t := range w.cfg.Types {
		if err := w.source.recordAway(ctx, unanswered[t.UID], false); err != nil {
			return err
		}
	}
	return nil
}

// resolveRefusals ends the alerts about refusals that no type met any more.
func (w *SyncWorker) resolveRefusals(ctx context.Context, d doubts, refused map[strapi.ErrorKind]bool) error {
	if d.token && !refused[strapi.Refused] {
		if err := w.resolve(ctx, alerting.RuleStrapiTokenRefused, "", alerting.EndStrapiTokenRefused); err != nil {
			return err
		}
	}
	if d.blocked && !refused[strapi.Blocked] {
		return w.resolve(ctx, alerting.RuleStrapiBlocked, "", alerting.EndStrapiBlocked)
	}
	return nil
}

func (w *SyncWorker) resolve(ctx context.Context, rule, subject, reason string) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := w.alerts.Resolve(ctx, tx, rule, subject, reason)
		return err
	})
}

// Probe makes one plain request to Strapi. The breaker lets it through, once over
// all replicas, when it is due. After a failure the next probe asks another type, so
// that a type which fails by itself does not keep the others waiting.
func (w *SyncWorker) Probe(ctx context.Context) error {
	t := w.cfg.Types[int(w.probes.Load())%len(w.cfg.Types)]
	err := w.source.client.CheckList(ctx, t, strapi.Query{})
	if isAnswer(err) {
		return nil // a refusal is an answer: Strapi is there, and Watch raises the alert
	}
	w.probes.Add(1)
	return err
}
