package mirror

import (
	"maps"
	"slices"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/strapi"
)

// DealFields and BillingFields are our names of what is mirrored. The settings
// STRAPI_DEAL_FIELDS and STRAPI_BILLING_FIELDS map them to Strapi's names.
var (
	DealFields = []string{
		"deal_id", "name", "deal_value", "currency", "status", "stage", "probability", "confidence_override",
		"expected_close_date", "recognition_start_month", "recognition_end_month", "owner",
	}
	BillingFields = []string{
		"billing_id", "amount", "currency", "status", "invoice_date", "collected_date", "recognition_month",
	}
)

// DealRelation is our name of a billing's relation to its deal. A deal's
// relations to its billings are named by the billing type's plural.
const DealRelation = "deal"

func fieldsOf(kind strapi.Kind) []string {
	if kind == strapi.Billing {
		return BillingFields
	}
	return DealFields
}

// DealRow maps a document, as Strapi shows that version of it, to our row. A value that cannot be
// read leaves its column null and is returned beside the row.
func DealRow(t strapi.ContentType, key Key, version strapi.Version, doc strapi.Document) (dbsqlc.DealUpsertParams, []Unreadable) {
	r := reader{t: t, doc: doc}
	return r.deal(key, version), r.unreadable
}

// BillingRow does the same for a billing. dealUID is the type of the deals.
func BillingRow(t strapi.ContentType, dealUID string, key Key, version strapi.Version, doc strapi.Document) (dbsqlc.BillingUpsertParams, []Unreadable) {
	r := reader{t: t, doc: doc}
	return r.billing(dealUID, key, version), r.unreadable
}

func (r *reader) deal(key Key, version strapi.Version) dbsqlc.DealUpsertParams {
	return dbsqlc.DealUpsertParams{
		UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale,
		StrapiID:              &r.doc.ID,
		DealID:                r.text("deal_id", maxWord),
		Name:                  r.text("name", maxText),
		DealValue:             r.number("deal_value"),
		Currency:              r.text("currency", maxWord),
		Status:                r.text("status", maxWord),
		Stage:                 r.text("stage", maxWord),
		Probability:           r.number("probability"),
		ConfidenceOverride:    r.number("confidence_override"),
		ExpectedCloseDate:     r.date("expected_close_date"),
		RecognitionStartMonth: r.date("recognition_start_month"),
		RecognitionEndMonth:   r.date("recognition_end_month"),
		Owner:                 r.text("owner", maxText),
		StrapiCreatedAt:       r.doc.CreatedAt,
		StrapiUpdatedAt:       r.doc.UpdatedAt,
		PublishedAt:           publishedAt(version, r.doc),
	}
}

func (r *reader) billing(dealUID string, key Key, version strapi.Version) dbsqlc.BillingUpsertParams {
	row := dbsqlc.BillingUpsertParams{
		UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale,
		StrapiID:         &r.doc.ID,
		BillingID:        r.text("billing_id", maxWord),
		Amount:           r.number("amount"),
		Currency:         r.text("currency", maxWord),
		Status:           r.text("status", maxWord),
		InvoiceDate:      r.date("invoice_date"),
		CollectedDate:    r.date("collected_date"),
		RecognitionMonth: r.date("recognition_month"),
		StrapiCreatedAt:  r.doc.CreatedAt,
		StrapiUpdatedAt:  r.doc.UpdatedAt,
		PublishedAt:      publishedAt(version, r.doc),
	}
	if deal := r.relation(DealRelation); deal != "" {
		row.DealUID, row.DealDocumentID = &dealUID, &deal
	}
	return row
}

// publishedAt returns nil for a draft. Strapi sets it on every write, also where the
// type has no drafts; a row that came by another way may lack it and counts all
// the same, because Strapi lists it as published.
func publishedAt(version strapi.Version, doc strapi.Document) *time.Time {
	switch {
	case version == strapi.Draft:
		return nil
	case doc.PublishedAt != nil:
		return doc.PublishedAt
	case doc.CreatedAt != nil:
		return doc.CreatedAt
	}
	epoch := time.Unix(0, 0).UTC()
	return &epoch
}

// relations returns Strapi's names of the relations that a type has to the other kind.
func relations(t strapi.ContentType) []string {
	var names []string
	for _, ours := range mappedNames(t) {
		if IsRelation(t, ours) {
			names = append(names, t.Field(ours))
		}
	}
	slices.Sort(names)
	return names
}

// IsRelation reports whether a name of ours is a relation to the other kind.
func IsRelation(t strapi.ContentType, ours string) bool {
	return !slices.Contains(fieldsOf(t.Kind), ours)
}

// mappedNames returns our names of the fields and relations that a type has in Strapi.
func mappedNames(t strapi.ContentType) []string {
	names := slices.Clone(fieldsOf(t.Kind))
	for _, ours := range slices.Sorted(maps.Keys(t.Fields)) {
		if IsRelation(t, ours) {
			names = append(names, ours)
		}
	}
	return slices.DeleteFunc(names, func(ours string) bool { return t.Field(ours) == "" })
}
