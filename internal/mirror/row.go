package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

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

// DealRow maps a document, as Strapi shows that version of it, to our row. A value that does not fit its
// column is an error that names the attribute: it is the document's fault.
func DealRow(t strapi.ContentType, key Key, version strapi.Version, doc strapi.Document) (dbsqlc.DealUpsertParams, error) {
	r := reader{t: t, doc: doc}
	row := dbsqlc.DealUpsertParams{
		UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale,
		StrapiID:              &doc.ID,
		DealID:                r.text("deal_id"),
		Name:                  r.text("name"),
		DealValue:             r.number("deal_value"),
		Currency:              r.text("currency"),
		Status:                r.text("status"),
		Stage:                 r.text("stage"),
		Probability:           r.number("probability"),
		ConfidenceOverride:    r.number("confidence_override"),
		ExpectedCloseDate:     r.date("expected_close_date"),
		RecognitionStartMonth: r.date("recognition_start_month"),
		RecognitionEndMonth:   r.date("recognition_end_month"),
		Owner:                 r.text("owner"),
		StrapiCreatedAt:       doc.CreatedAt,
		StrapiUpdatedAt:       doc.UpdatedAt,
		PublishedAt:           publishedAt(version, doc),
	}
	return row, r.err
}

// BillingRow does the same for a billing. dealUID is the type of the deals.
func BillingRow(t strapi.ContentType, dealUID string, key Key, version strapi.Version, doc strapi.Document) (dbsqlc.BillingUpsertParams, error) {
	r := reader{t: t, doc: doc}
	row := dbsqlc.BillingUpsertParams{
		UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale,
		StrapiID:         &doc.ID,
		BillingID:        r.text("billing_id"),
		Amount:           r.number("amount"),
		Currency:         r.text("currency"),
		Status:           r.text("status"),
		InvoiceDate:      r.date("invoice_date"),
		CollectedDate:    r.date("collected_date"),
		RecognitionMonth: r.date("recognition_month"),
		StrapiCreatedAt:  doc.CreatedAt,
		StrapiUpdatedAt:  doc.UpdatedAt,
		PublishedAt:      publishedAt(version, doc),
	}
	if deal := r.relation(DealRelation); deal != "" {
		row.DealUID, row.DealDocumentID = &dealUID, &deal
	}
	return row, r.err
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

// reader reads attributes by our names and keeps the first error.
type reader struct {
	t   strapi.ContentType
	doc strapi.Document
	err error
}

// date takes dates, and of a datetime its day as written.
func (r *reader) date(ours string) *time.Time {
	s := r.text(ours)
	if s == nil || *s == "" {
		return nil
	}
	day, _, _ := strings.Cut(*s, "T")
	if len(day) == len("2006-01") {
		day += "-01"
	}
	d, err := time.Parse(time.DateOnly, day)
	if err != nil {
		r.fail(ours, "a date")
		return nil
	}
	return &d
}

// text takes strings; numbers and booleans are taken as they are written, so
// that an integer deal_id or an enumeration of another kind is no failure.
func (r *reader) text(ours string) *string {
	raw := r.raw(ours)
	if raw == nil {
		return nil
	}
	var s string
	switch raw[0] {
	case '"':
		if json.Unmarshal(raw, &s) != nil {
			r.fail(ours, "a text")
		}
	case '{', '[':
		r.fail(ours, "a text")
	default:
		s = string(raw)
	}
	return &s
}

// maxDigits bounds what a number may grow to when it is written out: 1e131071
// is eight characters in JSON and 131 kB in Postgres.
const maxDigits = 40

// number takes JSON numbers, and strings as Strapi writes big ones.
func (r *reader) number(ours string) decimal.NullDecimal {
	raw := r.raw(ours)
	if raw == nil {
		return decimal.NullDecimal{}
	}
	d, err := decimal.NewFromString(strings.Trim(string(raw), `"`))
	if err != nil || d.NumDigits()+int(max(d.Exponent(), 0)) > maxDigits || d.Exponent() < -maxDigits {
		r.fail(ours, "a number of at most 40 digits")
		return decimal.NullDecimal{}
	}
	return decimal.NewNullDecimal(d)
}

// relation returns the documentId of a to-one relation; empty when there is none.
func (r *reader) relation(ours string) string {
	name := r.t.Field(ours)
	if name == "" {
		return ""
	}
	ids, ok := strapi.RelationIDs(r.doc.Attributes[name])
	switch {
	case !ok:
		r.fail(ours, "a relation that can be read")
	case len(ids) > 1:
		r.fail(ours, "a relation to one deal")
	case len(ids) == 1:
		return ids[0]
	}
	return ""
}

// raw returns nil where the type lacks the attribute or its value is null.
func (r *reader) raw(ours string) json.RawMessage {
	raw := r.doc.Attributes[r.t.Field(ours)]
	if bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}

func (r *reader) fail(ours, want string) {
	if r.err == nil {
		r.err = fieldError{fmt.Sprintf("attribute %s of %s is not %s: correct it in Strapi, or map another attribute to %s",
			r.t.Field(ours), r.t.UID, want, ours)}
	}
}

// fieldError is an attribute's value that does not fit its column.
type fieldError struct{ text string }

func (e fieldError) Error() string { return e.text }

// relations returns Strapi's names of the relations that a type has to the other kind.
func relations(t strapi.ContentType) []string {
	attributes := DealFields
	if t.Kind == strapi.Billing {
		attributes = BillingFields
	}
	var names []string
	for ours, theirs := range t.Fields {
		if theirs != "" && !slices.Contains(attributes, ours) {
			names = append(names, theirs)
		}
	}
	slices.Sort(names)
	return names
}
