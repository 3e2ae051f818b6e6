package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
)

const (
	// fetchTimeout bounds all requests and waits of one look, under jobs.Timeout.
	fetchTimeout = 18 * time.Second
	// documentTimeout and blameTimeout bound one request, whatever STRAPI_TIMEOUT
	// allows: it must fail while there is time to count it and to tell whose fault it
	// is. A request that is cut off by the end of its job speaks about nobody.
	documentTimeout = 12 * time.Second
	blameTimeout    = 10 * time.Second // with fetchTimeout and RecordTimeout under jobs.Timeout
	// listTimeout does the same for a page of a list: a reconciliation works in
	// slices of 20 s.
	listTimeout = 20 * time.Second
)

// current is what Strapi says of a document now.
type current struct {
	found bool // false: Strapi no longer has it
	// version is which version answered: the published one, or only a draft.
	version strapi.Version
	doc     strapi.Document
	// empty: the document is gone, and so is every other one of its type.
	empty bool
	// moved: the document is there, but under this key; see inItsLocale.
	moved *Key
}

// Source reads documents and lists from Strapi. What is mirrored or compared is
// read through call, so by the retry policy and with the breaker. Four requests go
// past it, because they ask about Strapi and not for data: classifyFailure and the
// two of Watch are made once, without a retry, and their callers record the result;
// the breaker itself makes Probe.
type Source struct {
	pool    store
	client  *strapi.Client
	breaker *circuit.Breaker
	policy  retry.Policy
}

// NewSource makes a Source. The policy is for one request; attempts of a whole job
// have a policy of their own.
func NewSource(db store, client *strapi.Client, breaker *circuit.Breaker, policy retry.Policy) *Source {
	policy.Try = min(policy.Try, documentTimeout) // no request takes longer
	return &Source{pool: db, client: client, breaker: breaker, policy: policy}
}

// Breaker returns the state of Strapi's breaker, from its row.
func (s *Source) Breaker(ctx context.Context) (circuit.Snapshot, error) {
	return s.breaker.Snapshot(ctx, s.pool)
}

// fetch reads the state of a document. It holds no connection and no lock while
// it waits. The published version counts; where there is none, the draft tells
// unpublished from deleted. Deleted is believed only when Strapi says so in its
// own words (a well-formed 404) while the collection answers.
func (s *Source) fetch(ctx context.Context, t strapi.ContentType, key Key, seen circuit.Snapshot) (current, error) {
	// What is left of the job's time is for blame's question and for the database.
	bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	doc, err := s.document(bounded, t, key, strapi.Published, seen)
	if err == nil {
		return inItsLocale(key, current{found: true, version: strapi.Published, doc: doc}), nil
	}
	if !isNotFound(err) {
		return current{}, s.classifyFailure(ctx, t, err)
	}
	doc, err = s.document(bounded, t, key, strapi.Draft, seen)
	if err == nil {
		return inItsLocale(key, current{found: true, version: strapi.Draft, doc: doc}), nil
	}
	if !isNotFound(err) {
		return current{}, s.classifyFailure(ctx, t, err)
	}
	empty, err := s.isEmpty(bounded, t, seen)
	if err != nil {
		return current{}, aboutStrapi(fmt.Errorf("%s says that the document does not exist, but its list does not answer: %w", t.Plural, err))
	}
	return current{found: false, empty: empty}, nil
}

// inItsLocale sees that the answer is about the locale that was asked for. A
// request without one is answered in the default locale once the type has been
// localized, and of a type that has no locales any more all of them are answered
// alike: under the key that was asked for there is no document then.
func inItsLocale(key Key, cur current) current {
	if cur.doc.Locale == key.Locale {
		return cur
	}
	return current{moved: &Key{key.UID, key.DocumentID, cur.doc.Locale}}
}

func (s *Source) document(ctx context.Context, t strapi.ContentType, key Key, v strapi.Version, seen circuit.Snapshot) (doc strapi.Document, err error) {
	query := strapi.Query{Populate: relations(t)}
	err = s.call(ctx, key.String(), seen, func(ctx context.Context) error {
		doc, err = s.client.WithTimeout(documentTimeout).Document(ctx, t, key.DocumentID, key.Locale, v, query)
		return err
	})
	return doc, err
}

// List returns one page of a type's list, read by the retry policy. seen is the
// breaker's state from before. It populates the relations, so that a
// relation which Strapi does not know is noticed here, too.
func (s *Source) List(ctx context.Context, t strapi.ContentType, q strapi.ListQuery, seen circuit.Snapshot) (page strapi.Page, err error) {
	q.Populate = relations(t)
	err = s.call(ctx, "", seen, func(ctx context.Context) error {
		page, err = s.client.WithTimeout(listTimeout).List(ctx, t, q)
		return err
	})
	return page, err
}

// isEmpty says that Strapi has no document of the type, published or draft, in any locale.
func (s *Source) isEmpty(ctx context.Context, t strapi.ContentType, seen circuit.Snapshot) (bool, error) {
	for _, v := range []strapi.Version{strapi.Published, strapi.Draft} {
		page, err := s.List(ctx, t, strapi.ListQuery{Version: v, PageSize: 1}, seen)
		if err != nil || len(page.Documents) > 0 || page.More {
			return false, err
		}
	}
	return true, nil
}

// call runs one request by the retry policy and tells the breaker how each try
// went. breakerKey is the document, which counts once in a run of failures, so
// that one poisoned document cannot open the breaker; empty counts always.
func (s *Source) call(ctx context.Context, breakerKey string, seen circuit.Snapshot, request func(context.Context) error) error {
	return retry.Do(ctx, s.policy, func(ctx context.Context) error {
		err := request(ctx)
		if !countsForBreaker(err) {
			if err == nil || isNotFound(err) {
				if recordErr := s.breaker.RecordSuccess(ctx, seen); recordErr != nil {
					return databaseError{recordErr} // not NotFound: nothing is concluded
				}
			}
			return err
		}
		if recordErr := s.breaker.RecordFailure(ctx, breakerKey, err); recordErr != nil {
			return errors.Join(err, recordErr)
		}
		if now, readErr := s.breaker.Snapshot(ctx, s.pool); readErr == nil {
			if now.State != circuit.Closed {
				return fmt.Errorf("%w: %w", circuit.ErrOpen, notTransient{err})
			}
			seen = now // so that a retry which succeeds clears this failure
		}
		return err
	})
}

// notTransient hides that an error may be retried: an open breaker ends the retries.
type notTransient struct{ error }

// countsForBreaker: Strapi could not be reached, could not answer, or did not
// answer like Strapi. A refusal (4xx) is an answer.
func countsForBreaker(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && (e.Transient() || e.Kind == strapi.Unreadable)
}

func isNotFound(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && e.Kind == strapi.NotFound
}

// classifyFailure tells whether a failed request speaks about Strapi or about the
// document. A 5xx, a timeout, a 400 or an answer that cannot be read can be either,
// so the list is asked the same way: if that fails as well it is Strapi.
func (s *Source) classifyFailure(ctx context.Context, t strapi.ContentType, cause error) error {
	var e *strapi.Error
	isAnswer := errors.As(cause, &e)
	var away databaseError
	switch {
	case ctx.Err() != nil, errors.As(cause, &away):
		return cause // the job is being stopped, or Postgres is in trouble: nothing was learned
	case errors.Is(cause, circuit.ErrOpen), isAnswer && !ambiguous(e):
		return aboutStrapi(cause)
	}
	// One request, not a whole retry: the answer is only needed to tell the two apart.
	err := s.client.WithTimeout(blameTimeout).CheckList(ctx, t, strapi.Query{Populate: relations(t)})
	if countsForBreaker(err) {
		err = errors.Join(err, s.breaker.RecordFailure(ctx, "", err))
	}
	if err != nil {
		return aboutStrapi(cause)
	}
	// Strapi is well, so what failed before this was no run of failures: else one
	// poisoned document after the other would open the breaker.
	now, err := s.breaker.Snapshot(ctx, s.pool)
	if err == nil {
		err = s.breaker.RecordSuccess(ctx, now)
	}
	if err != nil {
		return databaseError{errors.Join(cause, err)}
	}
	return cause
}

// ambiguous: the same answer would come for a broken document and for a broken
// Strapi, or for a question that Strapi never accepts.
func ambiguous(e *strapi.Error) bool {
	return e.Transient() && e.Status != http.StatusTooManyRequests || e.Kind == strapi.Rejected || e.Kind == strapi.Unreadable
}

// strapiError marks a failure that speaks about Strapi and not about the
// document: it burns no attempt and has no limit.
type strapiError struct {
	error
	after time.Duration // Strapi asked to wait this long
}

func (e strapiError) Unwrap() error { return e.error }

func aboutStrapi(err error) error {
	var late *retry.DeferredError
	if errors.As(err, &late) {
		return strapiError{err, late.After}
	}
	return strapiError{err, 0}
}
