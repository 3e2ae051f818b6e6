package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
)

const (
	// classifyTimeout bounds all requests that find out whose failure it is: with
	// fetchTimeout and RecordTimeout it fits into jobs.Timeout. checkTimeout bounds each
	// of them, so that a list which hangs leaves time for another.
	classifyTimeout = 10 * time.Second
	checkTimeout    = 7 * time.Second
	// enoughPeers is how many other documents must fail before the failure is not the
	// document's own: with fewer, the type may have that many bad documents.
	enoughPeers = 3
	// maxPeers is how many are asked at most.
	maxPeers = 5
	// peerTimeout is the time that one of them needs to say anything; with less, a
	// timeout would only show that Strapi is slow.
	peerTimeout = 2 * time.Second
	// unansweredWait is how long the documents of a type wait, of which the list is answered
	// and no document is. Past it their failures count.
	unansweredWait = time.Hour
)

// side is whose failure it is that a request failed.
type side int

const (
	ofDocument side = iota // Strapi serves other documents of the type
	ofType                 // Strapi is there, but it does not serve the type
	ofStrapi               // no type's list answers
)

// classifyFailure decides whether a failed request speaks about Strapi or about the
// document; the error of the first is made by aboutStrapi. A 5xx, a timeout, a 400, a 404
// of somebody else or an answer that cannot be read can be either, so it asks for lists and
// for other documents. It opens the breaker, or ends the run of failures.
func (s *Source) classifyFailure(ctx context.Context, t strapi.ContentType, key Key, cause error) error {
	var e *strapi.Error
	isAnswer := errors.As(cause, &e)
	var away databaseError
	if own := s.ownRefusal(ctx, t, cause); own != nil {
		return own
	}
	switch {
	case ctx.Err() != nil, errors.As(cause, &away):
		return cause // the job is being stopped, or Postgres is in trouble: nothing was learned
	case isMissing(cause), errors.Is(cause, circuit.ErrOpen), isAnswer && !ambiguous(e) && !isSuspicion(cause):
		return aboutStrapi(cause)
	}
	whose, err := s.inquire(ctx, t, key)
	switch {
	case ctx.Err() != nil:
		return cause
	case errors.As(err, &away):
		return err
	case whose == ofStrapi:
		return aboutStrapi(errors.Join(cause, s.recordAway(ctx, err, isSuspicion(cause))))
	}
	// Strapi is there, so what failed before this was no run of failures: else one
	// poisoned document after the other would open the breaker.
	if recordErr := s.breaker.RecordSuccess(ctx); recordErr != nil {
		return databaseError{errors.Join(cause, recordErr)}
	}
	switch {
	case whose == ofType:
		return aboutType(err)
	case isAnswer && !ambiguous(e):
		return aboutStrapi(cause) // such as a 429: it says nothing about the document
	}
	return cause
}

// ownRefusal returns the error of a document that Strapi refuses while it accepts the token, as
// a policy in its own code can; nil for any other.
func (s *Source) ownRefusal(ctx context.Context, t strapi.ContentType, cause error) error {
	e, ok := errors.AsType[*strapi.Error](cause)
	if !ok || e.Kind != strapi.Refused || e.Status != http.StatusForbidden || !s.mayRead(ctx, t) {
		return nil
	}
	own := *e
	own.Kind = strapi.Rejected // not the token, as its words would say
	own.Message, _, _ = strings.Cut(e.Message, "; check the API token")
	return &own
}

// mayRead reports whether the token may findOne and find. Strapi looks at the token first, and
// then answers 404 for a document that it has not. What a document lacks is asked of the list.
func (s *Source) mayRead(ctx context.Context, t strapi.ContentType) bool {
	return isNotFound(s.askNothing(ctx, t)) && s.checkList(ctx, t) == nil
}

// noDocument is a documentId that no document has, in Strapi's form.
const noDocument = "dealbox0asks0for0nothing"

// askNothing asks for a document that does not exist.
func (s *Source) askNothing(ctx context.Context, t strapi.ContentType) error {
	_, err := s.client.WithTimeout(checkTimeout).Document(ctx, t, noDocument, "", strapi.Published, strapi.Query{})
	return err
}

// classifyList does the same for a page of a list: it is the type's or Strapi's.
func (s *Source) classifyList(ctx context.Context, t strapi.ContentType, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, classifyTimeout)
	defer cancel()
	if s.othersServed(ctx, t) {
		if err := s.breaker.RecordSuccess(ctx); err != nil {
			return databaseError{errors.Join(cause, err)}
		}
		return cause
	}
	if err := s.breaker.Open(ctx, cause); err != nil {
		return databaseError{errors.Join(cause, err)}
	}
	return fmt.Errorf("%w: %w", circuit.ErrOpen, notTransient{cause})
}

// inquire asks Strapi whose failure it is, and returns what it answered to that.
func (s *Source) inquire(ctx context.Context, t strapi.ContentType, key Key) (side, error) {
	ctx, cancel := context.WithTimeout(ctx, classifyTimeout)
	defer cancel()
	err := s.checkList(ctx, t)
	switch {
	case err == nil:
		if err = s.checkPeers(ctx, t, key); err != nil {
			return ofType, err
		}
		return ofDocument, nil
	case isAnswer(err), s.othersServed(ctx, t):
		return ofType, err
	}
	return ofStrapi, err
}

// othersServed reports whether Strapi answers the list of another type.
func (s *Source) othersServed(ctx context.Context, t strapi.ContentType) bool {
	for _, other := range s.types {
		if other.UID != t.UID && isAnswer(s.checkList(ctx, other)) {
			return true
		}
	}
	return false
}

func (s *Source) checkList(ctx context.Context, t strapi.ContentType) error {
	client := s.client.WithTimeout(checkTimeout)
	return s.patiently(ctx, checkTimeout, func(ctx context.Context) error {
		return client.CheckList(ctx, t, strapi.Query{Populate: relations(t)})
	})
}

// patiently makes a request of which each try takes at most the limit, and makes it
// again where Strapi failed at once: one failure among many answers is no outage.
func (s *Source) patiently(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	again := retry.Policy{
		MaxRetries: min(s.policy.MaxRetries, 2), InitialDelay: min(s.policy.InitialDelay, 200*time.Millisecond),
		MaxDelay: 500 * time.Millisecond, Base: 2, Try: limit,
	}
	ctx, cancel := context.WithTimeout(ctx, 2*limit) // a long Retry-After is not waited for
	defer cancel()
	return retry.Do(ctx, again, request)
}

// checkPeers asks for other documents of the type, one after the other until one is
// answered: a Strapi whose lists come from a cache, or that fails in what all
// documents have, answers no document at all. It returns an error where that is so.
// Where there are too few, it is nil. The one that was answered last is asked first, so that
// in a type with few well documents every caller comes to the same result.
func (s *Source) checkPeers(ctx context.Context, t strapi.ContentType, key Key) error {
	peers, err := dbsqlc.New().EntityPeers(ctx, s.pool, dbsqlc.EntityPeersParams{UID: key.UID, DocumentID: key.DocumentID, MaxRows: maxPeers})
	if err != nil {
		return databaseError{fmt.Errorf("read other documents of %s: %w", t.Plural, err)}
	}
	known, err := s.shownOf(ctx, t)
	if err != nil {
		return err
	}
	if last, ok := s.answered.Load(t.UID); ok && last.(dbsqlc.EntityPeersRow).DocumentID != key.DocumentID {
		peers = append([]dbsqlc.EntityPeersRow{last.(dbsqlc.EntityPeersRow)}, peers...)
	}
	var failed []error
	for _, p := range peers {
		limit := timeLeft(ctx) / time.Duration(max(enoughPeers-len(failed), 1))
		if limit < peerTimeout {
			break
		}
		query, _ := known.query(t, p.Locale)
		_, err := s.client.WithTimeout(limit).Document(ctx, t, p.DocumentID, p.Locale, strapi.Published, query)
		switch {
		case err == nil:
			s.answered.Store(t.UID, p)
			return nil
		case !isNotFound(err):
			failed = append(failed, err)
		}
	}
	if len(failed) < enoughPeers {
		return nil
	}
	return noDocumentError{len(failed), failed[len(failed)-1]}
}

// noDocumentError says that Strapi lists a type and answers none of its documents.
type noDocumentError struct {
	asked int
	last  error
}

func (e noDocumentError) Error() string {
	return fmt.Sprintf("Strapi's list answers, but none of %d other documents does; the last: %v", e.asked, e.last)
}

func (e noDocumentError) Unwrap() error { return e.last }

func (e noDocumentError) inWords() string {
	return fmt.Sprintf("its list answers, and none of its documents does (%d others were tried; the last: %s)", e.asked, strapi.Words(e.last))
}

// isUnanswered reports whether it is a noDocumentError.
func isUnanswered(err error) bool {
	_, ok := errors.AsType[noDocumentError](err)
	return ok
}

// outlasted reports whether a type of which no document is answered has waited long enough:
// then each failure is its document's, so that the ill ones become dead letters and the others
// flow. Failure policy: if that cannot be read, they wait on.
func (w *SyncWorker) outlasted(ctx context.Context, t strapi.ContentType, cause error) bool {
	if !isUnanswered(cause) {
		return false
	}
	open, err := w.alerts.OpenFor(ctx, w.pool, alerting.RuleStrapiUnusable, t.Plural)
	return err == nil && open >= unansweredWait
}

func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return classifyTimeout
	}
	return time.Until(deadline)
}

// recordAway counts that no list answered, and opens the breaker at the threshold.
func (s *Source) recordAway(ctx context.Context, cause error, suspected bool) error {
	reached, err := s.breaker.RecordFailure(ctx, "", cause)
	if err != nil || !reached && !suspected {
		return err
	}
	return s.breaker.Open(ctx, cause)
}

// suspicion marks a failure with which the failures in a row have reached the
// breaker's threshold. It is not tried again.
type suspicion struct{ error }

func (e suspicion) Unwrap() error { return e.error }

// Transient implements what retry.Do asks an error.
func (suspicion) Transient() bool { return false }

func isSuspicion(err error) bool {
	var s suspicion
	return errors.As(err, &s)
}

// ambiguous reports whether the same answer would come for a broken document and for
// a broken Strapi, or for a question that Strapi never accepts.
func ambiguous(e *strapi.Error) bool {
	switch e.Kind {
	case strapi.Rejected, strapi.Unreadable, strapi.Blocked, strapi.MissingRoute:
		return true
	default:
		return e.Transient() && e.Status != http.StatusTooManyRequests
	}
}

// countsForBreaker reports whether Strapi could not be reached, could not answer, or
// did not answer like Strapi. A refusal (4xx) is an answer.
func countsForBreaker(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && (e.Transient() || e.Kind == strapi.Unreadable) && !errors.Is(err, strapi.ErrTooLarge)
}

// isAnswer reports whether Strapi, or what stands before it, answered: nil, or a refusal.
func isAnswer(err error) bool {
	var e *strapi.Error
	return err == nil || errors.As(err, &e) && !countsForBreaker(err)
}

func isNotFound(err error) bool { return strapi.KindOf(err) == strapi.NotFound }

// strapiError marks a failure that speaks about Strapi and not about the
// document: it counts no attempt and has no limit.
type strapiError struct {
	error
	after    time.Duration // Strapi asked to wait this long
	unserved bool          // Strapi is there, but it does not serve the type
}

func (e strapiError) Unwrap() error { return e.error }

func aboutStrapi(err error) error {
	var late *retry.DeferredError
	if errors.As(err, &late) {
		return strapiError{error: err, after: late.After}
	}
	var e *strapi.Error
	if errors.As(err, &e) {
		return strapiError{error: err, after: e.Wait}
	}
	return strapiError{error: err}
}

func aboutType(err error) error { return strapiError{error: err, unserved: true} }

// isAboutStrapi reports whether aboutStrapi or aboutType made the error, and returns
// how long Strapi asked to wait.
func isAboutStrapi(err error) (wait time.Duration, ok bool) {
	var s strapiError
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.after, true
}

// isUnserved reports whether aboutType made the error.
func isUnserved(err error) bool {
	var s strapiError
	return errors.As(err, &s) && s.unserved
}
