package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// recheckAttributes is after how long a check asks again for attributes that Strapi did
// not show, so that one which was added is found.
const recheckAttributes = 45 * time.Second

const (
	updatedAt = "updatedAt"
	locale    = "locale"
)

// ownAttributes are those that a row needs beside the mapped ones, where Strapi shows
// them: a type without locales hides its locale, and api.responses.privateAttributes can
// hide the times.
var ownAttributes = []string{"createdAt", updatedAt, "publishedAt", locale}

// attributes is what Strapi shows of each type, from the table strapi_attribute.
type attributes struct {
	mu    sync.Mutex
	types map[string]*shown // by uid
}

// shown is what Strapi shows of a type.
type shown struct {
	mu           sync.Mutex
	seen, absent map[string]bool // by Strapi's names; both: it was shown once, and is not now
	// learned counts the changes to what requests name.
	learned int
	checked time.Time
}

// shownOf returns what is known of a type, from the table the first time. It holds no
// lock while it reads.
func (s *Source) shownOf(ctx context.Context, t strapi.ContentType) (*shown, error) {
	a := &s.attributes
	a.mu.Lock()
	k := a.types[t.UID]
	a.mu.Unlock()
	if k != nil {
		return k, nil
	}
	rows, err := dbsqlc.New().StrapiAttributes(ctx, s.pool, t.UID)
	if err != nil {
		return nil, databaseError{fmt.Errorf("read which attributes %s has: %w", t.UID, err)}
	}
	k = &shown{seen: map[string]bool{}, absent: map[string]bool{}}
	for _, row := range rows {
		k.mark(row.Name, row.Seen, row.Absent)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if first := a.types[t.UID]; first != nil {
		return first, nil
	}
	if a.types == nil {
		a.types = map[string]*shown{}
	}
	a.types[t.UID] = k
	return k, nil
}

func (k *shown) mark(name string, seen, absent bool) {
	if seen {
		k.seen[name] = true
	}
	if absent {
		k.absent[name] = true
	} else {
		delete(k.absent, name)
	}
}

// query returns what a request for documents of the type names, and its number, which
// grows when that changes: all that is mapped, but for attributes that Strapi has never
// shown. in is the locale of the documents: "" where they have none as far as is known,
// "*" for any.
func (k *shown) query(t strapi.ContentType, in string) (strapi.Query, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := everything(t)
	for name := range k.absent {
		if !k.needed(t, name) {
			q = q.Without(name)
		}
	}
	if in == "" && !k.seen[locale] {
		q = q.Without(locale)
	}
	return q, k.learned
}

// needed reports whether the type cannot be mirrored without an attribute: one that was
// shown once, since what is gone is not null, and each relation, since without it every
// billing would lose its deal. The caller holds mu.
func (k *shown) needed(t strapi.ContentType, name string) bool {
	return k.seen[name] && !slices.Contains(ownAttributes, name) || slices.Contains(relations(t), name)
}

// everything returns a query for all attributes and relations that are mapped.
func everything(t strapi.ContentType) strapi.Query {
	q := strapi.Query{Fields: append([]string{"documentId"}, ownAttributes...), Populate: relations(t)}
	for _, ours := range fieldsOf(t.Kind) {
		if theirs := t.Field(ours); theirs != "" && !slices.Contains(q.Fields, theirs) {
			q.Fields = append(q.Fields, theirs)
		}
	}
	return q
}

// Ask runs a request for documents of a type with the query for all that is mapped and
// that Strapi shows: the one place that says what of a document is read. It learns from
// the answer. The error is made by aboutStrapi where Strapi does not show what it has
// shown before: what is gone is not null.
//
// in is the locale of the documents: "" where they have none as far as is known, "*" for any.
func (s *Source) Ask(ctx context.Context, t strapi.ContentType, in string, request func(strapi.Query) ([]strapi.Document, error)) error {
	k, err := s.shownOf(ctx, t)
	if err != nil {
		return err
	}
	q, learned := k.query(t, in)
	if in != "" && in != "*" && !slices.Contains(q.Fields, locale) {
		q.Fields = append(q.Fields, locale) // the type may have got locales since
	}
	docs, err := request(q)
	if strapi.KeyOf(err) != "" {
		if err := s.learn(ctx, t, k, learned); err != nil {
			return err
		}
		q, _ = k.query(t, in)
		docs, err = request(q)
	}
	if err != nil {
		return err
	}
	return s.observe(ctx, t, k, q, docs)
}

// learn finds out which names Strapi refuses, after it refused one. It has nothing to do
// where another request did so since.
func (s *Source) learn(ctx context.Context, t strapi.ContentType, k *shown, learned int) error {
	q, now := k.query(t, "*")
	if now != learned {
		return nil
	}
	rest, docs, refused, err := probe(ctx, s.client.WithTimeout(documentTimeout), t, q)
	if err != nil {
		return err
	}
	if err := s.lost(ctx, t, k, refused, nil); err != nil {
		return err
	}
	return s.observe(ctx, t, k, rest, docs)
}

// probe asks for one document of a type, less each name that Strapi refuses. It returns
// the query that Strapi accepts, its answer, and what it refuses. Requests are made once.
func probe(ctx context.Context, client *strapi.Client, t strapi.ContentType, q strapi.Query) (rest strapi.Query, docs []strapi.Document, refused []string, err error) {
	for {
		docs, err = client.Sample(ctx, t, q, 1)
		key := strapi.KeyOf(err)
		if key == "" {
			return q, docs, refused, err
		}
		culprits := q.Named(key)
		if len(culprits) != 1 {
			// Several paths have that name, or none: each by itself.
			culprits = nil
			for _, name := range q.Names() {
				if _, alone := client.Sample(ctx, t, q.Only(name), 1); strapi.KeyOf(alone) != "" {
					culprits = append(culprits, name)
				}
			}
		}
		if len(culprits) == 0 {
			return q, nil, refused, err
		}
		refused, q = append(refused, culprits...), q.Without(culprits...)
	}
}

// Probe returns the query for all that is mapped and that Strapi takes, and by Strapi's
// names what it refuses. It records nothing.
func Probe(ctx context.Context, client *strapi.Client, t strapi.ContentType) (accepted strapi.Query, refused []string, err error) {
	accepted, _, refused, err = probe(ctx, client, t, everything(t))
	return accepted, refused, err
}

// observe learns from documents that were requested with a query. What some of them
// lack and others show speaks about those documents alone: it is null in them.
func (s *Source) observe(ctx context.Context, t strapi.ContentType, k *shown, q strapi.Query, docs []strapi.Document) error {
	present, absent := attributesOf(q, docs)
	if k.needsAny(t, absent) {
		elsewhere, err := s.client.WithTimeout(documentTimeout).Sample(ctx, t, q.Only(append(slices.Collect(maps.Keys(absent)), "documentId")...), witnesses)
		if err != nil && strapi.KeyOf(err) == "" {
			return err
		}
		others, _ := attributesOf(q, elsewhere)
		maps.DeleteFunc(absent, func(name string, _ bool) bool { return others[name] })
	}
	if len(absent) > 0 {
		hidden := slices.DeleteFunc(slices.Clone(q.Populate), func(name string) bool { return !absent[name] })
		if err := s.lost(ctx, t, k, slices.Sorted(maps.Keys(absent)), hidden); err != nil {
			return err
		}
	}
	return s.found(ctx, t, k, present)
}

// witnesses is how many documents are asked before what one answer lacks is gone from its type.
const witnesses = 25

// attributesOf returns what some documents show of a query, and what all of them lack.
func attributesOf(q strapi.Query, docs []strapi.Document) (present, absent map[string]bool) {
	present, absent = map[string]bool{}, map[string]bool{}
	for _, doc := range docs {
		for _, name := range q.Names() {
			switch _, found := strapi.Attribute(doc, name); {
			case name == "documentId" || slices.Contains(ownAttributes, name):
			case found == strapi.Present:
				present[name] = true
			case found == strapi.Absent:
				absent[name] = true
			}
		}
		if doc.Locale != "" {
			present[locale] = true
		}
	}
	maps.DeleteFunc(absent, func(name string, _ bool) bool { return present[name] })
	return present, absent
}

// needsAny reports whether the type cannot be mirrored without one of these attributes.
func (k *shown) needsAny(t strapi.ContentType, names map[string]bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range names {
		if k.needed(t, name) {
			return true
		}
	}
	return false
}

// found records what Strapi shows and did not show before.
func (s *Source) found(ctx context.Context, t strapi.ContentType, k *shown, present map[string]bool) error {
	k.mu.Lock()
	var news []string
	for _, name := range slices.Sorted(maps.Keys(present)) {
		if !k.seen[name] || k.absent[name] {
			news = append(news, name)
		}
	}
	k.mu.Unlock()
	if len(news) == 0 {
		return nil
	}
	err := dbsqlc.New().StrapiAttributesShown(ctx, s.pool, dbsqlc.StrapiAttributesShownParams{UID: t.UID, Names: news})
	if err != nil {
		return databaseError{fmt.Errorf("record which attributes %s has: %w", t.UID, err)}
	}
	k.learn(news, true, false)
	return nil
}

// lost records what Strapi does not show; hidden are the relations among that which it
// dropped without a word. The error is a missingError where some of it is needed. What
// was shown once is read from the table: another process may have seen it.
func (s *Source) lost(ctx context.Context, t strapi.ContentType, k *shown, absent, hidden []string) error {
	if news := k.notYetAbsent(absent); len(news) > 0 {
		rows, err := dbsqlc.New().StrapiAttributesAbsent(ctx, s.pool, dbsqlc.StrapiAttributesAbsentParams{UID: t.UID, Names: news})
		if err != nil {
			return databaseError{fmt.Errorf("record which attributes %s lacks: %w", t.UID, err)}
		}
		for _, row := range rows {
			k.learn([]string{row.Name}, row.Seen, true)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	missing := missingError{t: t, hidden: hidden}
	for _, name := range absent {
		if k.needed(t, name) && !slices.Contains(hidden, name) {
			missing.names = append(missing.names, name)
		}
	}
	if len(missing.names)+len(missing.hidden) > 0 {
		return aboutStrapi(missing)
	}
	return nil
}

// forgetUnmapped ends the absence of attributes that are not mapped any more: else the
// forecast would wait for them for ever.
func (s *Source) forgetUnmapped(ctx context.Context, t strapi.ContentType) error {
	err := dbsqlc.New().StrapiAttributesUnmapped(ctx, s.pool, dbsqlc.StrapiAttributesUnmappedParams{UID: t.UID, Mapped: everything(t).Names()})
	if err != nil {
		return databaseError{fmt.Errorf("forget attributes of %s that are not mapped: %w", t.UID, err)}
	}
	return nil
}

func (k *shown) notYetAbsent(names []string) (news []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		if !k.absent[name] {
			news = append(news, name)
		}
	}
	return news
}

func (k *shown) learn(names []string, seen, absent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		k.mark(name, seen, absent)
	}
	k.learned++
}

// check asks for one document of the type, so that attributes which come, go or come
// back are noticed without a webhook. Errors are those of Ask. A document that is too
// large to read does not speak for its type: then the list of identifiers does.
func (s *Source) check(ctx context.Context, t strapi.ContentType) error {
	k, err := s.shownOf(ctx, t)
	if err != nil {
		return err
	}
	q, _ := k.query(t, "*")
	k.mu.Lock()
	all := time.Since(k.checked) >= recheckAttributes
	k.mu.Unlock()
	if all {
		q = everything(t)
	}
	rest, docs, refused, err := probe(ctx, s.client.WithTimeout(documentTimeout), t, q)
	switch {
	case strapi.KindOf(err) == strapi.Unreadable:
		return s.client.WithTimeout(documentTimeout).CheckList(ctx, t, strapi.Query{Populate: rest.Populate})
	case err != nil:
		return err
	}
	if err := s.lost(ctx, t, k, refused, nil); err != nil {
		return err
	}
	if err := s.observe(ctx, t, k, rest, docs); err != nil {
		return err
	}
	return s.found(ctx, t, k, k.accepted(rest, all))
}

// accepted ends the absence of what Strapi accepts in a request, also where it has no
// document to show it. It returns those that it has shown before.
func (k *shown) accepted(q strapi.Query, all bool) map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	back := map[string]bool{}
	for _, name := range q.Names() {
		switch {
		case !k.absent[name]:
		case k.seen[name]:
			back[name] = true
		default:
			delete(k.absent, name)
			k.learned++
		}
	}
	if all {
		k.checked = time.Now()
	}
	return back
}

// unknown returns our names of the attributes that a setting maps and Strapi has never shown.
func (k *shown) unknown(t strapi.ContentType) (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ours := range t.Explicit {
		if theirs := t.Field(ours); theirs != "" && k.absent[theirs] && !k.seen[theirs] {
			all = append(all, ours)
		}
	}
	return all
}

// hides reports whether Strapi does not show an attribute.
func (k *shown) hides(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.absent[name]
}
