package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// row is a mirrored row; one of the two is set.
type row struct {
	deal    *dbsqlc.DealUpsertParams
	billing *dbsqlc.BillingUpsertParams
}

// difference is a document that is not in step.
type difference struct {
	listed

	kind string // missing or stale
}

// compare finds what differs in a range. In a delta a draft says nothing about
// its published version, which may be older than the delta.
func (w *Worker) compare(ctx context.Context, tx pgx.Tx, run dbsqlc.ReconciliationRun, t strapi.ContentType, docs []listed) ([]difference, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	have, err := w.rows(ctx, tx, t, docs)
	if err != nil {
		return nil, err
	}
	var found []difference
	for _, l := range docs {
		r, ok := have[l.key]
		switch {
		case !ok:
			found = append(found, difference{l, "missing"})
		case run.Kind == string(Delta) && l.version == strapi.Draft && r.published():
		case w.differs(t, l, r):
			found = append(found, difference{l, "stale"})
		}
	}
	found = append(found, strays(docs, have)...)
	return w.withoutDead(ctx, tx, t, found)
}

// rows reads the mirror's live rows of the listed documents.
func (w *Worker) rows(ctx context.Context, tx pgx.Tx, t strapi.ContentType, docs []listed) (map[mirror.Key]row, error) {
	have := make(map[mirror.Key]row, len(docs))
	if t.Kind == strapi.Deal {
		all, err := dbsqlc.New().ReconciliationDeals(ctx, tx, dbsqlc.ReconciliationDealsParams{UID: t.UID, DocumentIds: ids(docs)})
		if err != nil {
			return nil, fmt.Errorf("read deals to compare: %w", err)
		}
		for _, r := range all {
			deal := dbsqlc.DealUpsertParams(r)
			have[mirror.Key{UID: r.UID, DocumentID: r.DocumentID, Locale: r.Locale}] = row{deal: &deal}
		}
		return have, nil
	}
	all, err := dbsqlc.New().ReconciliationBillings(ctx, tx, dbsqlc.ReconciliationBillingsParams{UID: t.UID, DocumentIds: ids(docs)})
	if err != nil {
		return nil, fmt.Errorf("read billings to compare: %w", err)
	}
	for _, r := range all {
		billing := dbsqlc.BillingUpsertParams(r)
		have[mirror.Key{UID: r.UID, DocumentID: r.DocumentID, Locale: r.Locale}] = row{billing: &billing}
	}
	return have, nil
}

// differs reports whether Strapi's document is not what the mirror has, compared as it
// would be written: a value that cannot be read is null in both.
func (w *Worker) differs(t strapi.ContentType, l listed, have row) bool {
	if t.Kind == strapi.Deal {
		want, _ := mirror.DealRow(t, l.key, l.version, l.doc)
		return !sameDeal(want, *have.deal)
	}
	want, _ := mirror.BillingRow(t, w.dealUIDs[0], l.key, l.version, l.doc)
	if len(w.dealUIDs) > 1 && want.DealDocumentID != nil {
		// Strapi does not name the deal's type; the sync finds it.
		want.DealUID = have.billing.DealUID
	}
	return !sameBilling(want, *have.billing)
}

func (r row) published() bool {
	if r.deal != nil {
		return r.deal.PublishedAt != nil
	}
	return r.billing.PublishedAt != nil
}

// strays returns rows from before their type got locales, or from when it still had
// them: Strapi lists their documents under other keys. A refresh makes the row a
// tombstone.
func strays(docs []listed, have map[mirror.Key]row) []difference {
	if len(have) == 0 {
		return nil
	}
	shown := map[mirror.Key]bool{}
	for _, l := range docs {
		shown[l.key] = true
	}
	var found []difference
	for key := range have {
		i := slices.IndexFunc(docs, func(l listed) bool { return l.key.DocumentID == key.DocumentID })
		if !shown[key] && (docs[i].key.Locale == "") != (key.Locale == "") {
			found = append(found, difference{listed{key, docs[i].version, docs[i].doc}, "stale"})
		}
	}
	slices.SortFunc(found, func(a, b difference) int { return strings.Compare(a.key.String(), b.key.String()) })
	return found
}

// deadSlack is how long before its death a correction of a dead letter may have been
// made, by Strapi's clock, and still leads to a refresh: it can fall into the last
// attempt, and Strapi's clock can be behind. It costs a few refreshes in vain at most:
// a document that dies again dies later, and that is soon after the slack.
const deadSlack = 5 * time.Minute

// withoutDead leaves out dead letters that nobody has corrected since: each run
// would revive them, and they would fail again.
func (w *Worker) withoutDead(ctx context.Context, tx pgx.Tx, t strapi.ContentType, found []difference) ([]difference, error) {
	if len(found) == 0 {
		return nil, nil
	}
	docs := make([]listed, len(found))
	for i, d := range found {
		docs[i] = d.listed
	}
	dead, err := dbsqlc.New().EntityDead(ctx, tx, dbsqlc.EntityDeadParams{UID: t.UID, DocumentIds: ids(docs)})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	hopeless := map[mirror.Key]bool{}
	for _, e := range dead {
		key := mirror.Key{UID: t.UID, DocumentID: e.DocumentID, Locale: e.Locale}
		for _, l := range docs {
			changed := l.doc.UpdatedAt
			if l.key == key && (changed == nil || e.DeadAt != nil && !changed.Add(deadSlack).After(*e.DeadAt)) {
				hopeless[key] = true
			}
		}
	}
	kept := found[:0]
	for _, d := range found {
		if !hopeless[d.key] {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

func locales(docs []listed) []string {
	all := make([]string, len(docs))
	for i, l := range docs {
		all[i] = l.key.Locale
	}
	return all
}

func ids(docs []listed) []string {
	all := make([]string, len(docs))
	for i, l := range docs {
		all[i] = l.key.DocumentID
	}
	return all
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
