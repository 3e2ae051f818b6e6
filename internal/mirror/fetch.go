package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
)

const (
	// fetchTimeout bounds all requests and waits of one attempt, under jobs.Timeout.
	fetchTimeout = 18 * time.Second
	// documentTimeout and classifyTimeout bound one request, whatever STRAPI_TIMEOUT
	// allows: it must fail while there is time to count it and to find out whether it
	// is Strapi's fault or the document's. A request that is cut off by the end of its
	// job shows neither.
	documentTimeout = 12 * time.Second
	classifyTimeout = 10 * time.Second // with fetchTimeout and RecordTimeout under jobs.Timeout
	// listTimeout does the same for a page of a list: a reconciliation works in
	// slices of 20 s.
	listTimeout = 20 * time.Second
	// maxDocument bounds one document with what is mirrored of it, in bytes.
	maxDocument = 2 << 20
)

// current is how Strapi has a document now.
type current struct {
	found bool // false: Strapi no longer has it
	// version is the one that Strapi returned: the published one, or only a draft.
	version strapi.Version
	doc     strapi.Document
	// empty: the document is gone, and so is every other one of its type.
	empty bool
	// moved: the document is there, but under this key; see inItsLocale.
	moved *Key
	// refused are values that Postgres does not take, why by our names; see writeAround.
	refused map[string]string
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

	attributes attributes
}

// NewSource makes a Source. The policy is for one request; attempts of a whole job
// have a policy of their own.
func NewSource(db store, client *strapi.Client, breaker *circuit.Breaker, policy retry.Policy) *Source {
	policy.Try = min(policy.Try, documentTimeout) // no request takes longer
	return &Source{pool: db, client: client, breaker: breaker, policy: policy}
}

// fetch returns the state of a document in Strapi. It holds no connection and no
// lock while it waits. The published version counts; where there is none, the draft
// distinguishes unpublished from deleted. Failure policy: deleted is believed only
// when Strapi answers a well-formed 404 for both while the list of the type answers.
func (s *Source) fetch(ctx context.Context, t strapi.ContentType, key Key, breaker circuit.Snapshot) (current, error) {
	// What is left of the job's time is for classifyFailure and for the database.
	bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for _, version := range []strapi.Version{strapi.Published, strapi.Draft} {
		doc, err := s.document(bounded, t, key, version, breaker)
		if err == nil {
			return inItsLocale(key, current{found: true, version: version, doc: doc}), nil
		}
		if !isNotFound(err) {
			return current{}, s.classifyFailure(ctx, t, err)
		}
	}
	empty, err := s.isEmpty(bounded, t, breaker)
	if err != nil {
		return current{}, aboutStrapi(fmt.Errorf("%s says that the document does not exist, but its list does not answer: %w", t.Plural, err))
	}
	return current{found: false, empty: empty}, nil
}

func (s *Source) document(ctx context.Context, t strapi.ContentType, key Key, v strapi.Version, breaker circuit.Snapshot) (doc strapi.Document, err error) {
	client := s.client.WithTimeout(documentTimeout).WithMaxBytes(maxDocument)
	err = s.Ask(ctx, t, key.Locale, func(query strapi.Query) ([]strapi.Document, error) {
		err := s.call(ctx, key.String(), breaker, func(ctx context.Context) error {
			doc, err = client.Document(ctx, t, key.DocumentID, key.Locale, v, query)
			return err
		})
		return []strapi.Document{doc}, err
	})
	return doc, err
}

// inItsLocale makes sure that the answer is about the locale of the key. Strapi
// answers a request without a locale in the default one once the type has been
// localized, and answers every locale alike once the type has none any more: under
// this key there is no document then.
func inItsLocale(key Key, cur current) current {
	if cur.doc.Locale == key.Locale {
		return cur
	}
	return current{moved: &Key{key.UID, key.DocumentID, cur.doc.Locale}}
}

// isEmpty reports whether Strapi has no document of the type, published or draft, in any locale.
func (s *Source) isEmpty(ctx context.Context, t strapi.ContentType, breaker circuit.Snapshot) (bool, error) {
	for _, v := range []strapi.Version{strapi.Published, strapi.Draft} {
		page, err := s.List(ctx, t, strapi.ListQuery{Version: v, PageSize: 1}, breaker)
		if err != nil || len(page.Documents) > 0 || page.More {
			return false, err
		}
	}
	return true, nil
}

// List returns one page of a type's list, read by the retry policy. breaker is the
// breaker's state from before.
func (s *Source) List(ctx context.Context, t strapi.ContentType, q strapi.ListQuery, breaker circuit.Snapshot) (page strapi.Page, err error) {
	err = s.Ask(ctx, t, "*", func(query strapi.Query) ([]strapi.Document, error) {
		q.Query = query
		if !slices.Contains(query.Fields, updatedAt) {
			q.Since = time.Time{} // hidden: Strapi refuses to filter by it, so the delta reads everything
		}
		err := s.call(ctx, "", breaker, func(ctx context.Context) error {
			page, err = s.client.WithTimeout(listTimeout).List(ctx, t, q)
			return err
		})
		return page.Documents, err
	})
	return page, err
}

// call runs one request by the retry policy and records on the breaker how each try
// went. breakerKey is the document, which counts once in a run of failures, so
// that one poisoned document cannot open the breaker; empty counts always.
func (s *Source) call(ctx context.Context, breakerKey string, breaker circuit.Snapshot, request func(context.Context) error) error {
	return retry.Do(ctx, s.policy, func(ctx context.Context) error {
		err := request(ctx)
		if !countsForBreaker(err) {
			if err == nil || isNotFound(err) {
				if recordErr := s.breaker.RecordSuccess(ctx, breaker); recordErr != nil {
					return databaseError{recordErr} // not NotFound: nothing is concluded
				}
			}
			return err
		}
		if recordErr := s.breaker.RecordFailure(ctx, breakerKey, err); recordErr != nil {
			return errors.Join(err, recordErr)
		}
		if now, readErr := s.Breaker(ctx); readErr == nil {
			if now.State != circuit.Closed {
				return fmt.Errorf("%w: %w", circuit.ErrOpen, notTransient{err})
			}
			breaker = now // so that a retry which succeeds clears this failure
		}
		return err
	})
}

// Breaker returns the state of Strapi's breaker, from its row.
func (s *Source) Breaker(ctx context.Context) (circuit.Snapshot, error) {
	return s.breaker.Snapshot(ctx, s.pool)
}

// notTransient hides that an error may be retried: an open breaker ends the retries.
type notTransient struct{ error }

// classifyFailure decides whether a failed request speaks about Strapi or about the
// document; the error of the first is made by aboutStrapi. A 5xx, a timeout, a 400 or
// an answer that cannot be read can be either, so it asks for the list the same way:
// if that fails as well it is Strapi.
func (s *Source) classifyFailure(ctx context.Context, t strapi.ContentType, cause error) error {
	var e *strapi.Error
	isAnswer := errors.As(cause, &e)
	var away databaseError
	switch {
	case ctx.Err() != nil, errors.As(cause, &away):
		return cause // the job is being stopped, or Postgres is in trouble: nothing was learned
	case isMissing(cause), errors.Is(cause, circuit.ErrOpen), isAnswer && !ambiguous(e):
		return aboutStrapi(cause)
	}
	// One request without retries: it only has to separate the two.
	err := s.client.WithTimeout(classifyTimeout).CheckList(ctx, t, strapi.Query{Populate: relations(t)})
	if countsForBreaker(err) {
		err = errors.Join(err, s.breaker.RecordFailure(ctx, "", err))
	}
	if err != nil {
		return aboutStrapi(cause)
	}
	// Strapi is well, so what failed before this was no run of failures: else one
	// poisoned document after the other would open the breaker.
	now, err := s.Breaker(ctx)
	if err == nil {
		err = s.breaker.RecordSuccess(ctx, now)
	}
	if err != nil {
		return databaseError{errors.Join(cause, err)}
	}
	return cause
}

// ambiguous reports whether the same answer would come for a broken document and for
// a broken Strapi, or for a question that Strapi never accepts.
func ambiguous(e *strapi.Error) bool {
	return e.Transient() && e.Status != http.StatusTooManyRequests || e.Kind == strapi.Rejected || e.Kind == strapi.Unreadable
}

// countsForBreaker reports whether Strapi could not be reached, could not answer, or
// did not answer like Strapi. A refusal (4xx) is an answer.
func countsForBreaker(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && (e.Transient() || e.Kind == strapi.Unreadable)
}

func isNotFound(err error) bool {
	var e *strapi.Error
	return errors.As(err, &e) && e.Kind == strapi.NotFound
}

// strapiError marks a failure that speaks about Strapi and not about the
// document: it counts no attempt and has no limit.
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

// isAboutStrapi reports whether aboutStrapi made the error, and returns how long
// Strapi asked to wait.
func isAboutStrapi(err error) (wait time.Duration, ok bool) {
	var s strapiError
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.after, true
}
