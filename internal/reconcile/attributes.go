package reconcile

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// attributes returns the mirrored row that a listed document makes, as JSON by the columns
// of its table, so that Postgres compares it column by column, each by its type. A value that
// cannot be read is null, as its sync writes it. It is "" when a value fits no column all the
// same: such a document always differs, and its sync reports why.
func (w *Worker) attributes(t strapi.ContentType, version strapi.Version, doc strapi.Document) string {
	key := mirror.Key{UID: t.UID, DocumentID: doc.DocumentID, Locale: doc.Locale}
	var columns columns
	if t.Kind == strapi.Deal {
		row, _ := mirror.DealRow(t, key, version, doc)
		columns.deal(row)
	} else {
		row, _ := mirror.BillingRow(t, w.dealUIDs[0], key, version, doc)
		columns.billing(row)
		if len(w.dealUIDs) == 1 || row.DealDocumentID == nil {
			columns.text("deal_uid", row.DealUID)
		} // else Strapi does not name the deal's type; the sync finds it
	}
	body, err := json.Marshal(columns.values)
	if err != nil || columns.unfit {
		return ""
	}
	return string(body)
}

// columns collects the values of a row by its columns. What is left out is not compared.
type columns struct {
	values map[string]any
	unfit  bool
}

func (c *columns) deal(r dbsqlc.DealUpsertParams) {
	c.set("strapi_id", r.StrapiID)
	c.text("deal_id", r.DealID)
	c.text("name", r.Name)
	c.number("deal_value", r.DealValue)
	c.text("currency", r.Currency)
	c.text("status", r.Status)
	c.text("stage", r.Stage)
	c.number("probability", r.Probability)
	c.number("confidence_override", r.ConfidenceOverride)
	c.time("expected_close_date", r.ExpectedCloseDate)
	c.time("recognition_start_month", r.RecognitionStartMonth)
	c.time("recognition_end_month", r.RecognitionEndMonth)
	c.text("owner", r.Owner)
	c.time("strapi_created_at", r.StrapiCreatedAt)
	c.time("strapi_updated_at", r.StrapiUpdatedAt)
	c.time("published_at", r.PublishedAt)
}

func (c *columns) billing(r dbsqlc.BillingUpsertParams) {
	c.set("strapi_id", r.StrapiID)
	c.text("billing_id", r.BillingID)
	c.text("deal_document_id", r.DealDocumentID)
	c.number("amount", r.Amount)
	c.text("currency", r.Currency)
	c.text("status", r.Status)
	c.time("invoice_date", r.InvoiceDate)
	c.time("collected_date", r.CollectedDate)
	c.time("recognition_month", r.RecognitionMonth)
	c.time("strapi_created_at", r.StrapiCreatedAt)
	c.time("strapi_updated_at", r.StrapiUpdatedAt)
	c.time("published_at", r.PublishedAt)
}

func (c *columns) set(name string, value any) {
	if c.values == nil {
		c.values = map[string]any{}
	}
	c.values[name] = value
}

// text: Postgres keeps no NUL.
func (c *columns) text(name string, value *string) {
	c.unfit = c.unfit || value != nil && strings.ContainsRune(*value, 0)
	c.set(name, value)
}

// number is written as a text, so that it passes through no float.
func (c *columns) number(name string, value decimal.NullDecimal) {
	if !value.Valid {
		c.set(name, nil)
		return
	}
	c.set(name, value.Decimal.String())
}

// time is a date, too. Postgres keeps microseconds, and writes years before 1 otherwise.
func (c *columns) time(name string, value *time.Time) {
	if value == nil {
		c.set(name, nil)
		return
	}
	c.unfit = c.unfit || value.UTC().Year() < 1 || value.UTC().Year() > 9999
	c.set(name, value.UTC().Format("2006-01-02T15:04:05.999999Z"))
}
