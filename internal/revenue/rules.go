package revenue

import (
	"math/big"
	"strings"

	"github.com/shopspring/decimal"
)

const (
	// statusActive is the only status that counts, written exactly so.
	statusActive = "active"
	// MaxMonths is the longest recognition range, and the longest window of
	// a query: 100 years. A deal with a longer range is unscheduled, so
	// that one wrong date does not make a million rows.
	MaxMonths = 1200
	// maxCurrencyLength bounds the code of a currency, in bytes; the rest is cut
	// off. Codes have 3. Without a bound one deal with 9 kB of text in that field
	// could not be stored in an index, and no forecast would be stored any more.
	maxCurrencyLength = 32
	// maxDigits bounds amounts: one of 10^24 or more, either way, is no money.
	// numeric holds up to 10^131072 and such sums would overflow it.
	maxDigits = 24
)

var (
	zero    = decimal.Zero
	one     = decimal.New(1, 0)
	hundred = decimal.New(100, 0)

	// confirmedFrom is the lowest probability of confirmed revenue.
	confirmedFrom = decimal.New(75, -2)
	mediumShare   = decimal.New(75, -2)
	lowShare      = decimal.New(25, -2)

	stageProbability = map[string]decimal.Decimal{
		"prospecting":   decimal.New(10, -2),
		"qualification": decimal.New(25, -2),
		"proposal":      decimal.New(50, -2),
		"negotiation":   decimal.New(75, -2),
	}
	otherProbability = decimal.New(50, -2)
)

// probability is the chance that the deal is won, 0 to 1. Only null falls
// through to the next rule: 0 is a value. The stage is compared in lower case
// and without spaces around it.
func (d Deal) probability() decimal.Decimal {
	stage := strings.ToLower(strings.TrimSpace(d.Stage))
	switch {
	case stage == "closed-won":
		return one
	case stage == "closed-lost":
		return zero
	case d.Override.Valid:
		return fromPercent(d.Override.Decimal)
	case d.Probability.Valid:
		return fromPercent(d.Probability.Decimal)
	}
	if p, ok := stageProbability[stage]; ok {
		return p
	}
	return otherProbability
}

// fromPercent clamps to 0–1.
func fromPercent(percent decimal.Decimal) decimal.Decimal {
	switch {
	case percent.Sign() <= 0:
		return zero
	case percent.Cmp(hundred) >= 0:
		return one
	}
	return percent.Shift(-2)
}

// months is the first month of the deal's revenue and how many months it lasts;
// 0 months means that the deal is unscheduled. One bound of the range alone is
// that month alone. A range that ends before it starts, or that is too long, is
// unscheduled even if there is an expected close date.
func (d Deal) months() (first Month, count int) {
	start, end := d.Start, d.End
	if start == 0 && end == 0 {
		start = d.Close
	}
	start, end = firstGiven(start, end), firstGiven(end, start)
	count = int(end) - int(start) + 1
	if start == 0 || count < 1 || count > MaxMonths {
		return 0, 0
	}
	return start, count
}

// billedIn is the month in which the billing counts as billed.
func (b Billing) billedIn() Month { return firstGiven(b.Recognition, b.Invoice) }

func firstGiven(a, b Month) Month {
	if a != 0 {
		return a
	}
	return b
}

// currencyCode is trimmed and in upper case. A deal or billing without a
// currency is in the default one.
func currencyCode(text, defaultCode string) string {
	code := strings.ToUpper(strings.TrimSpace(text))
	if code == "" {
		return defaultCode
	}
	return strings.ToValidUTF8(code[:min(len(code), maxCurrencyLength)], "")
}

// possible reports whether a business can have such an amount. Null is possible.
// It counts the digits before the point: comparing would calculate with them.
func possible(amount decimal.NullDecimal) bool {
	d := amount.Decimal
	return !amount.Valid || d.IsZero() || d.NumDigits()+int(d.Exponent()) <= maxDigits
}

// cents rounds half up to the cent. Half is away from zero, as in Postgres'
// round(): a negative amount is the mirror image of the positive one.
func cents(amount decimal.Decimal) *big.Int {
	return amount.Round(2).Shift(2).BigInt()
}

func fromCents(c *big.Int) decimal.Decimal { return decimal.NewFromBigInt(c, -2) }

// spread divides cents evenly over count months. What the division leaves over,
// less than count cents, comes on top in the last month. The share is cut and
// not rounded, so no month has the other sign.
func spread(total *big.Int, count int) (share, last *big.Int) {
	share, rest := new(big.Int).QuoRem(total, big.NewInt(int64(count)), new(big.Int))
	return share, rest.Add(rest, share)
}
