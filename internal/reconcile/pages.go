package reconcile

import (
	"time"

	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// listed is a document as a list shows it.
type listed struct {
	key     mirror.Key
	version strapi.Version
	doc     strapi.Document
}

// merge makes one range of a type's list from a page of each version. The
// published version counts; a document that has none is its draft, in each locale
// for itself. upto is
// where both pages reach, "" for the end: nothing is known beyond it.
func merge(uid string, drafts, published strapi.Page) (docs []listed, upto string) {
	for _, p := range []strapi.Page{drafts, published} {
		if p.More && (upto == "" || p.Last() < upto) {
			upto = p.Last()
		}
	}
	within := func(d strapi.Document) bool { return upto == "" || d.DocumentID <= upto }
	seen := map[mirror.Key]bool{}
	add := func(p strapi.Page, v strapi.Version) {
		for _, d := range p.Documents {
			key := mirror.Key{UID: uid, DocumentID: d.DocumentID, Locale: d.Locale}
			if within(d) && !seen[key] {
				seen[key] = true
				docs = append(docs, listed{key, v, d})
			}
		}
	}
	add(published, strapi.Published)
	add(drafts, strapi.Draft)
	return docs, upto
}

// hasDrafts tells a type with drafts by its draft list: drafts are never
// published. A type without them answers with what is published.
func hasDrafts(drafts strapi.Page) bool {
	for _, d := range drafts.Documents {
		if d.PublishedAt != nil {
			return false
		}
	}
	return true
}

// Values are compared for inequality, never for which is newer: updatedAt is no
// version. Each mirrored column is compared; a test goes through all of them.

func sameDeal(a, b dbsqlc.DealUpsertParams) bool {
	return same(a.StrapiID, b.StrapiID) && same(a.DealID, b.DealID) && same(a.Name, b.Name) &&
		sameNumber(a.DealValue, b.DealValue) && same(a.Currency, b.Currency) && same(a.Status, b.Status) &&
		same(a.Stage, b.Stage) && sameNumber(a.Probability, b.Probability) &&
		sameNumber(a.ConfidenceOverride, b.ConfidenceOverride) && same(a.Owner, b.Owner) &&
		sameTimes(a.ExpectedCloseDate, b.ExpectedCloseDate, a.RecognitionStartMonth, b.RecognitionStartMonth,
			a.RecognitionEndMonth, b.RecognitionEndMonth, a.StrapiCreatedAt, b.StrapiCreatedAt,
			a.StrapiUpdatedAt, b.StrapiUpdatedAt, a.PublishedAt, b.PublishedAt)
}

func sameBilling(a, b dbsqlc.BillingUpsertParams) bool {
	return same(a.StrapiID, b.StrapiID) && same(a.BillingID, b.BillingID) && same(a.DealUID, b.DealUID) &&
		same(a.DealDocumentID, b.DealDocumentID) && sameNumber(a.Amount, b.Amount) &&
		same(a.Currency, b.Currency) && same(a.Status, b.Status) &&
		sameTimes(a.InvoiceDate, b.InvoiceDate, a.CollectedDate, b.CollectedDate,
			a.RecognitionMonth, b.RecognitionMonth, a.StrapiCreatedAt, b.StrapiCreatedAt,
			a.StrapiUpdatedAt, b.StrapiUpdatedAt, a.PublishedAt, b.PublishedAt)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func sameNumber(a, b decimal.NullDecimal) bool {
	return a.Valid == b.Valid && (!a.Valid || a.Decimal.Equal(b.Decimal))
}

// sameTimes compares pairs, to the microsecond that Postgres keeps.
func sameTimes(pairs ...*time.Time) bool {
	for i := 0; i < len(pairs); i += 2 {
		a, b := pairs[i], pairs[i+1]
		if (a == nil) != (b == nil) || a != nil && a.Sub(*b).Abs() >= time.Microsecond {
			return false
		}
	}
	return true
}
