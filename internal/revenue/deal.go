package revenue

import (
	"cmp"
	"strings"

	"github.com/shopspring/decimal"
)

// Document names what a row of the mirror shows. A document in several locales
// has several rows.
type Document struct {
	UID        string
	DocumentID string
	Locale     string
	Published  bool
	Deleted    bool
}

// live reports whether the row can count at all: it is published and no tombstone.
func (d Document) live() bool { return d.Published && !d.Deleted }

func (d Document) same(o Document) bool { return d.DocumentID == o.DocumentID && d.UID == o.UID }

// compare orders the rows of a document by locale, the one without any first.
func (d Document) compare(o Document) int {
	return cmp.Or(strings.Compare(d.UID, o.UID), strings.Compare(d.DocumentID, o.DocumentID),
		strings.Compare(d.Locale, o.Locale))
}

// Deal is what the forecast needs of a deal. Empty text and zero months are nulls.
type Deal struct {
	Document

	Status   string
	Stage    string
	Currency string

	Value       decimal.NullDecimal // deal_value, in Currency
	Probability decimal.NullDecimal // percent
	Override    decimal.NullDecimal // confidence_override, percent

	Start Month // recognition_start_month
	End   Month // recognition_end_month
	Close Month // of expected_close_date
}

// Billing is what the forecast needs of a billing. Empty text and zero months are nulls.
type Billing struct {
	Document

	Currency    string
	Amount      decimal.NullDecimal // in Currency
	Recognition Month               // recognition_month
	Invoice     Month               // of invoice_date
	Collected   Month               // of collected_date
}
