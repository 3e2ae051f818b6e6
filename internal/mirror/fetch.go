package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/retry"
	"dealbox/internal/strapi"
)

const (
	// fetchTimeout bounds all requests and waits of one attempt, under jobs.Timeout.
	fetchTimeout = 18 * time.Second
	// documentTimeout bounds one request, whatever STRAPI_TIMEOUT allows: it must fail
	// while there is time to count it and to find out whether it is Strapi's fault or the
	// document's. A request that is cut off by the end of its job shows neither.
	documentTimeout = 12 * time.Second
	// listTimeout does the same for a page of a list: a reconciliation works in
	// slices of 20 s.
	listTimeout = 20 * time.Second
	// firstRetry is the longest wait before a request is made a second time. Most
	// failures of one request have passed by then, and a document that is well waits no
	// longer for them. Retry-After counts before it.
	firstRetry = 20 * time.Millisecond
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
// read through call, so by the retry policy and with the breaker. Some requests go
// past it, because they ask about Strapi and not for data: those of classify.go and
// of Watch, whose callers record the result, and Probe, which the breaker makes.
type Source struct {
	pool    store
	client  *strapi.Client
	breaker *circuit.Breaker
	policy  retry.Policy
	types   []strapi.ContentType

	attributes attributes
	// answered has by uid the document that checkPeers asked for and Strapi answered.
	answered sync.Map
}

// NewSource makes a Source. The policy is for one request; attempts of a whole job
// have a policy of their own. types are all that are configured: whether Strapi is
// there is asked of each.
func NewSource(db store, client *strapi.Client, breaker *circuit.Breaker, policy retry.Policy, types []strapi.ContentType) *Source {
	policy.Try = min(policy.Try, documentTimeout) // no request takes longer
	policy.FirstDelay = firstRetry
	return &Source{pool: db, client: client, breaker: breaker, policy: policy, types: types}
}

// fetch returns the state of a document in Strapi. It holds no connection and no
// lock while it waits. The published version counts; where there is none, the draft
// distinguishes unpublished from deleted. Failure policy: a 404 is believed only when
// it is well-formed and the list answers and does not have that version either. Else
// fetch asks once more, because the document may just have been published; then it is
// a failure of the document, as a cache or two replicas behind one address cause it.
func (s *Source) fetch(ctx context.Context, t strapi.ContentType, key Key, breaker circuit.Snapshot) (current, error) {
	// What is left of the job's time is for classifyFailure and for the database.
	bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for range 2 {
		cur, err := s.newest(bounded, t, key, breaker)
		if err != nil {
			return current{}, s.classifyFailure(ctx, t, key, err)
		}
		if cur.found && cur.version == strapi.Published {
			return inItsLocale(key, cur), nil
		}
		listed, err := s.isListed(bounded, t, key, cur)
		switch {
		case err != nil:
			return current{}, listSilent(t, err)
		case listed:
			continue
		case cur.found:
			return inItsLocale(key, cur), nil
		}
		if cur.empty, err = s.isEmpty(bounded, t, breaker); err != nil {
			return current{}, listSilent(t, err)
		}
		return cur, nil
	}
	return current{}, fmt.Errorf("the answer of Strapi is 404 for the document, while its list of %s has it: nothing is deleted or unpublished. "+
		"A cache before Strapi, or two Strapis behind one address, show different states", t.Plural)
}

// newest asks for the published version and, where there is none, for the draft.
func (s *Source) newest(ctx context.Context, t strapi.ContentType, key Key, breaker circuit.Snapshot) (current, error) {
	for _, version := range []strapi.Version{strapi.Published, strapi.Draft} {
		doc, err := s.document(ctx, t, key, version, breaker)
		if isNotFound(err) {
			continue
		}
		if doc.PublishedAt != nil {
			version = strapi.Published // a type without drafts: the first 404 was wrong
		}
		return current{found: err == nil, version: version, doc: doc}, err
	}
	return current{}, nil
}

// isListed reports whether the list has a version that Strapi answered 404 for.
func (s *Source) isListed(ctx context.Context, t strapi.ContentType, key Key, cur current) (listed bool, err error) {
	versions := []strapi.Version{strapi.Published, strapi.Draft}
	if cur.found {
		versions = versions[:1]
	}
	for _, v := range versions {
		err = s.callList(ctx, t, func(ctx context.Context) (err error) {
			listed, err = s.client.WithTimeout(listTimeout).Listed(ctx, t, key.DocumentID, key.Locale, v)
			return err
		})
		if err != nil || listed {
			break
		}
	}
	return listed, err
}

func listSilent(t strapi.ContentType, err error) error {
	return aboutStrapi(fmt.Errorf("%s says that the document does not exist, but its list does not answer: %w", t.Plural, err))
}

func (s *Source) document(ctx context.Context, t strapi.ContentType, key Key, v strapi.Version, breaker circuit.Snapshot) (doc strapi.Document, err error) {
	client := s.client.WithTimeout(documentTimeout).WithMaxBytes(maxDocument)
	err = s.Ask(ctx, t, key.Locale, func(query strapi.Query) ([]strapi.Document, error) {
		err := s.call(ctx, key.String(), breaker.FailureCount > 0, func(ctx context.Context) error {
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
		if err != nil || page.Rows > 0 {
			return false, err
		}
	}
	return true, nil
}

// List returns one page of a type's list, read by the retry policy. breaker is the
// breaker's state from before: while it is not closed, List asks nothing.
func (s *Source) List(ctx context.Context, t strapi.ContentType, q strapi.ListQuery, breaker circuit.Snapshot) (page strapi.Page, err error) {
	if err := breaker.Err(); err != nil {
		return page, err
	}
	err = s.Ask(ctx, t, "*", func(query strapi.Query) ([]strapi.Document, error) {
		q.Query = query
		if !slices.Contains(query.Fields, updatedAt) {
			q.Since = time.Time{} // hidden: Strapi refuses to filter by it, so the delta reads everything
		}
		err := s.callList(ctx, t, func(ctx context.Context) error {
			page, err = s.client.WithTimeout(listTimeout).List(ctx, t, q)
			return err
		})
		if q.IDsOnly {
			return nil, err // no attribute was requested, so none is absent
		}
		return page.Documents, err
	})
	return page, err
}

// callList is call for a request to the list of a type.
func (s *Source) callList(ctx context.Context, t strapi.ContentType, request func(context.Context) error) error {
	err := s.call(ctx, "", true, request)
	if isSuspicion(err) {
		return s.classifyList(ctx, t, err)
	}
	return err
}

// call runs one request by the retry policy and records on the breaker how each try
// went. breakerKey is the document, which counts once in a run of failures; empty
// counts always. failing says that a run of failures may be under way, which a success
// ends; where it is false, the caller makes sure of that later.
//
// Once the failures in a row are as many as would open the breaker, call tries no more
// and returns a suspicion: the caller asks whether Strapi is there.
func (s *Source) call(ctx context.Context, breakerKey string, failing bool, request func(context.Context) error) error {
	return retry.Do(ctx, s.policy, func(ctx context.Context) error {
		err := request(ctx)
		if !countsForBreaker(err) {
			if failing && (err == nil || isNotFound(err)) {
				if recordErr := s.breaker.RecordSuccess(ctx); recordErr != nil {
					return databaseError{recordErr} // not NotFound: nothing is concluded
				}
			}
			return err
		}
		failing = true // so that a retry which succeeds clears this failure
		suspected, recordErr := s.breaker.RecordFailure(ctx, breakerKey, err)
		switch {
		case recordErr != nil:
			return errors.Join(err, databaseError{recordErr})
		case suspected:
			return suspicion{err}
		}
		if now, readErr := s.Breaker(ctx); readErr == nil && now.State != circuit.Closed {
			return fmt.Errorf("%w: %w", circuit.ErrOpen, notTransient{err})
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
