// Package revenue computes the revenue forecast from the mirror: what the deals
// are expected to bring by currency and month, beside what was billed and
// collected. Forecast.MarkDirty requests a recompute, RecomputeWorker does it with
// Compute, Forecast.Base reads the result.
package revenue

import (
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// ModelVersion names the rules by which a snapshot was computed. Raise it when
// the rules change: the next recompute then stores a new snapshot.
const ModelVersion = "weighted-1"

// Input is what Compute reads. Deals and Billings yield rows in key order (uid,
// documentId, locale), so that nobody has to hold all of them, or the error that
// ended the reading. Rows that cannot count, such as drafts, may be among them.
type Input struct {
	// Currency is that of deals and billings that name none.
	Currency string
	// Locale is Strapi's default one; "" where it has none.
	Locale   string
	Deals    iter.Seq2[Deal, error]
	Billings iter.Seq2[Billing, error]
}

// Snapshot is a forecast. It holds every currency and month that has a value.
type Snapshot struct {
	Deals      int64 // that count, in all currencies
	Currencies []Currency
	// Impossible is how many deals and billings have an amount of 10^24 or more.
	// Their amount is left out. It is not stored.
	Impossible int64
}

// Currency is the forecast of the deals of one currency.
type Currency struct {
	Code        string
	Deals       int64
	Unscheduled decimal.Decimal // weighted value of the deals that name no month
	Months      []Amounts       // in order; months with no value at all are absent
}

// Amounts are those of one month and currency, to the cent.
type Amounts struct {
	Month     Month
	Confirmed decimal.Decimal // weighted value of deals with a probability of 0.75 or more
	Tentative decimal.Decimal // that of the others
	Tiers     Tiers
	Billed    decimal.Decimal
	Collected decimal.Decimal
}

// Total is confirmed and tentative together.
func (a Amounts) Total() decimal.Decimal { return a.Confirmed.Add(a.Tentative) }

// Tiers sort the month's revenue by confidence. Each is rounded for itself, so
// their sum can differ from the total by a cent.
type Tiers struct {
	High   decimal.Decimal // confirmed
	Medium decimal.Decimal // 0.75 × tentative
	Low    decimal.Decimal // 0.25 × tentative
}

// Compute returns the forecast of all deals and billings. A deal counts when it is
// published, not deleted and its status is exactly "active". A document in several
// locales counts once: of its rows that are published and not deleted, the one in
// the default locale counts, else the one without a locale, else the first by name.
func Compute(in Input) (Snapshot, error) {
	t := newTally(in.Currency, in.Locale)
	for d, err := range in.Deals {
		if err != nil {
			return Snapshot{}, err
		}
		t.deal(d)
	}
	for b, err := range in.Billings {
		if err != nil {
			return Snapshot{}, err
		}
		t.billing(b)
	}
	return t.snapshot(), nil
}

// tally adds deals and billings up, one after the other, so that the mirror need
// not be in memory. The rows of a document must come one after the other and in
// the order of their locales, as Document.compare sorts them.
type tally struct {
	defaultCurrency string
	locale          string
	currencies      map[string]*ledger
	heldDeal        Deal // the last document, until it is known that no row of it is better
	heldBilling     Billing
	impossible      int64
}

// ledger is what one currency adds up to, in cents.
type ledger struct {
	deals       int64
	unscheduled big.Int
	months      map[Month]*sums
}

type sums struct{ confirmed, tentative, billed, collected big.Int }

func newTally(defaultCurrency, locale string) *tally {
	return &tally{defaultCurrency: currencyCode(defaultCurrency, ""), locale: locale, currencies: map[string]*ledger{}}
}

func (t *tally) deal(d Deal) {
	switch {
	case !d.live():
	case !d.same(t.heldDeal.Document):
		t.countDeal(t.heldDeal)
		t.heldDeal = d
	case d.Locale == t.locale:
		t.heldDeal = d
	}
}

func (t *tally) countDeal(d Deal) {
	if !d.live() || d.Status != statusActive {
		return
	}
	l := t.ledger(d.Currency)
	l.deals++
	if !possible(d.Value) {
		t.impossible++
		return
	}
	p := d.probability()
	l.schedule(d, cents(d.Value.Decimal.Mul(p)), p.Cmp(confirmedFrom) >= 0)
}

// schedule puts the deal's weighted value into its months.
func (l *ledger) schedule(d Deal, weighted *big.Int, confirmed bool) {
	if weighted.Sign() == 0 {
		return
	}
	first, count := d.months()
	if count == 0 {
		l.unscheduled.Add(&l.unscheduled, weighted)
		return
	}
	share, last := spread(weighted, count)
	final := first + Month(count) - 1
	for m := first; m <= final; m++ {
		if m == final {
			share = last
		}
		sum := l.month(m)
		if confirmed {
			sum.confirmed.Add(&sum.confirmed, share)
		} else {
			sum.tentative.Add(&sum.tentative, share)
		}
	}
}

func (t *tally) billing(b Billing) {
	switch {
	case !b.live():
	case !b.same(t.heldBilling.Document):
		t.countBilling(t.heldBilling)
		t.heldBilling = b
	case b.Locale == t.locale:
		t.heldBilling = b
	}
}

func (t *tally) countBilling(b Billing) {
	if !b.live() {
		return
	}
	if !possible(b.Amount) {
		t.impossible++
		return
	}
	amount := cents(b.Amount.Decimal)
	if amount.Sign() == 0 {
		return
	}
	if m := b.billedIn(); m != 0 {
		sum := t.ledger(b.Currency).month(m)
		sum.billed.Add(&sum.billed, amount)
	}
	if m := b.Collected; m != 0 {
		sum := t.ledger(b.Currency).month(m)
		sum.collected.Add(&sum.collected, amount)
	}
}

func (t *tally) ledger(currency string) *ledger {
	code := currencyCode(currency, t.defaultCurrency)
	l := t.currencies[code]
	if l == nil {
		l = &ledger{months: map[Month]*sums{}}
		t.currencies[code] = l
	}
	return l
}

func (l *ledger) month(m Month) *sums {
	s := l.months[m]
	if s == nil {
		s = &sums{}
		l.months[m] = s
	}
	return s
}

func (t *tally) snapshot() Snapshot {
	t.countDeal(t.heldDeal)
	t.countBilling(t.heldBilling)
	t.heldDeal, t.heldBilling = Deal{}, Billing{}
	s := Snapshot{Impossible: t.impossible}
	for code, l := range t.currencies {
		s.Deals += l.deals
		s.Currencies = append(s.Currencies, l.currency(code))
	}
	slices.SortFunc(s.Currencies, func(a, b Currency) int { return strings.Compare(a.Code, b.Code) })
	return s
}

func (l *ledger) currency(code string) Currency {
	c := Currency{Code: code, Deals: l.deals, Unscheduled: fromCents(&l.unscheduled)}
	for _, m := range slices.Sorted(maps.Keys(l.months)) {
		if s := l.months[m]; !s.empty() {
			c.Months = append(c.Months, s.amounts(m))
		}
	}
	return c
}

func (s *sums) empty() bool {
	return s.confirmed.Sign() == 0 && s.tentative.Sign() == 0 && s.billed.Sign() == 0 && s.collected.Sign() == 0
}

func (s *sums) amounts(m Month) Amounts {
	confirmed, tentative := fromCents(&s.confirmed), fromCents(&s.tentative)
	return Amounts{
		Month:     m,
		Confirmed: confirmed,
		Tentative: tentative,
		Tiers: Tiers{
			High:   confirmed,
			Medium: tentative.Mul(mediumShare).Round(2),
			Low:    tentative.Mul(lowShare).Round(2),
		},
		Billed:    fromCents(&s.billed),
		Collected: fromCents(&s.collected),
	}
}
