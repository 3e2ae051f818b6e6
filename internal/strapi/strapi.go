// Package strapi speaks Strapi 5: ParseEnvelope reads the body of a webhook, and
// Client reads documents from the REST API.
package strapi

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what the documents of a content type are to Dealbox.
type Kind string

// The kinds of content types that Dealbox mirrors.
const (
	Deal    Kind = "deal"
	Billing Kind = "billing"
)

// ContentType is one of Strapi's content types that Dealbox mirrors.
type ContentType struct {
	Kind Kind
	// UID is the type's name in webhooks, such as api::pipeline-deal.pipeline-deal.
	UID string
	// Plural is the type's name in REST routes, such as pipeline-deals.
	Plural string
	// Fields maps our field names to theirs. A field that is absent here has
	// the same name in both; one that is mapped to "" does not exist in Strapi. A
	// name with dots is a path through components and relations, such as money.amount.
	Fields map[string]string
	// Explicit are the fields of ours that a setting maps by name, in their order.
	Explicit []string
	// Location is where the day of a datetime is taken; nil is UTC.
	Location *time.Location
}

// Zone returns Location, or UTC.
func (t ContentType) Zone() *time.Location {
	if t.Location == nil {
		return time.UTC
	}
	return t.Location
}

// Field returns Strapi's name of our field, "" when the type has no such attribute.
func (t ContentType) Field(ours string) string {
	if theirs, mapped := t.Fields[ours]; mapped {
		return theirs
	}
	return ours
}

// UIDs returns the uids of the types with these names, each a REST plural or a uid, or an
// error for people that says which types there are.
func UIDs(types []ContentType, names []string) ([]string, error) {
	var uids, known []string
	for _, t := range types {
		known = append(known, t.Plural)
	}
	for _, name := range names {
		i := slices.IndexFunc(types, func(t ContentType) bool { return name == t.Plural || name == t.UID })
		switch {
		case i < 0:
			return nil, fmt.Errorf("no type %q is configured; there are %s", name, strings.Join(known, ", "))
		case !slices.Contains(uids, types[i].UID):
			uids = append(uids, types[i].UID)
		}
	}
	return uids, nil
}

// Version is one of a document's two versions. Types without draft and publish
// have only the published one.
type Version string

// The versions of a document.
const (
	Published Version = "published"
	Draft     Version = "draft"
)
