package revenue

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCompute_Properties(t *testing.T) {
	t.Parallel()
	t.Run("equal to the naive reference", rapid.MakeCheck(func(t *rapid.T) {
		in := genInput.Draw(t, "in")
		require.Equal(t, naive(in), flat(in.compute()))
	}))
	t.Run("the order of deals and billings does not matter", rapid.MakeCheck(func(t *rapid.T) {
		in := genInput.Draw(t, "in")
		shuffled := portfolio{Currency: in.Currency, Locale: in.Locale}
		shuffled.Deals = rapid.Permutation(in.Deals).Draw(t, "deals")
		shuffled.Billings = rapid.Permutation(in.Billings).Draw(t, "billings")
		require.Equal(t, in.compute().Digest(), shuffled.compute().Digest())
	}))
	t.Run("a deal's months and unscheduled are value times probability, to the cent", rapid.MakeCheck(func(t *rapid.T) {
		d := genDeal.Draw(t, "deal")
		d.Status, d.Published, d.Deleted = "active", true, false
		c := portfolio{Currency: "THB", Deals: []Deal{d}}.compute().Currencies[0]
		sum := c.Unscheduled
		for _, a := range c.Months {
			require.GreaterOrEqual(t, a.Total().Sign()*d.Value.Decimal.Sign(), 0, "no month has the other sign")
			require.True(t, a.Confirmed.IsZero() || a.Tentative.IsZero(), "a deal is confirmed or tentative")
			sum = sum.Add(a.Total())
		}
		want := new(big.Rat).Mul(d.Value.Decimal.Rat(), d.probability().Rat())
		require.Equal(t, centsOf(want).String(), sum.Shift(2).String())
	}))
	t.Run("confirmed and tentative are the total, and the tiers follow", rapid.MakeCheck(func(t *rapid.T) {
		for _, c := range genInput.Draw(t, "in").compute().Currencies {
			for _, a := range c.Months {
				require.True(t, a.Confirmed.Add(a.Tentative).Equal(a.Total()))
				require.True(t, a.Tiers.High.Equal(a.Confirmed))
				off := a.Tiers.Medium.Add(a.Tiers.Low).Sub(a.Tentative).Abs()
				require.True(t, off.LessThanOrEqual(dec("0.01")), "medium and low are the tentative within a cent")
			}
		}
	}))
}

var (
	genMonth = rapid.OneOf(
		rapid.Just(Month(0)),
		rapid.Custom(func(t *rapid.T) Month { return month("2026-01") + Month(rapid.IntRange(-20, 20).Draw(t, "near")) }),
		rapid.Custom(func(t *rapid.T) Month { return Month(rapid.IntRange(13, 9999*12+12).Draw(t, "far")) }),
	)
	genCurrency = rapid.SampledFrom([]string{"", "THB", " thb", "USD", "eur"})
	genMoney    = rapid.OneOf(
		rapid.Just(null),
		rapid.Custom(func(t *rapid.T) decimal.NullDecimal {
			return decimal.NewNullDecimal(decimal.New(rapid.Int64().Draw(t, "n"), -int32(rapid.IntRange(0, 6).Draw(t, "digits"))))
		}),
		rapid.Custom(func(t *rapid.T) decimal.NullDecimal {
			return decimal.NewNullDecimal(decimal.New(rapid.Int64Range(-50_000, 50_000).Draw(t, "n"), -int32(rapid.IntRange(1, 4).Draw(t, "digits"))))
		}),
	)
	genPercent = rapid.OneOf(
		rapid.Just(null),
		rapid.Custom(func(t *rapid.T) decimal.NullDecimal {
			return decimal.NewNullDecimal(decimal.New(rapid.Int64Range(-10_00, 110_00).Draw(t, "n"), -2))
		}),
		rapid.SampledFrom([]decimal.NullDecimal{num("0"), num("74.99"), num("75"), num("100")}),
	)
	genDocument = rapid.Custom(func(t *rapid.T) Document {
		return Document{
			UID:        rapid.SampledFrom([]string{"api::a.a", "api::b.b"}).Draw(t, "uid"),
			DocumentID: fmt.Sprint("doc", rapid.IntRange(1, 12).Draw(t, "id")),
			Locale:     rapid.SampledFrom([]string{"", "de", "th"}).Draw(t, "locale"),
			Published:  rapid.IntRange(0, 5).Draw(t, "published") > 0,
			Deleted:    rapid.IntRange(0, 5).Draw(t, "deleted") == 0,
		}
	})
	genDeal = rapid.Custom(func(t *rapid.T) Deal {
		return Deal{
			Document: genDocument.Draw(t, "document"),
			Status:   rapid.SampledFrom([]string{"active", "active", "active", "lost", "Active", ""}).Draw(t, "status"),
			Stage: rapid.SampledFrom([]string{"prospecting", "qualification", "proposal", "negotiation", "closed-won", "closed-lost",
				"Closed-Won ", "demo", ""}).Draw(t, "stage"),
			Currency: genCurrency.Draw(t, "currency"), Value: genMoney.Draw(t, "value"),
			Probability: genPercent.Draw(t, "probability"), Override: genPercent.Draw(t, "override"),
			Start: genMonth.Draw(t, "start"), End: genMonth.Draw(t, "end"), Close: genMonth.Draw(t, "close"),
		}
	})
	genBilling = rapid.Custom(func(t *rapid.T) Billing {
		return Billing{
			Document: genDocument.Draw(t, "document"), Currency: genCurrency.Draw(t, "currency"), Amount: genMoney.Draw(t, "amount"),
			Recognition: genMonth.Draw(t, "recognition"), Invoice: genMonth.Draw(t, "invoice"), Collected: genMonth.Draw(t, "collected"),
		}
	})
	// A document has one row a locale, as in the mirror.
	genInput = rapid.Custom(func(t *rapid.T) portfolio {
		key := func(d Document) string { return d.UID + d.DocumentID + d.Locale }
		return portfolio{
			Currency: rapid.SampledFrom([]string{"THB", "eur"}).Draw(t, "default"),
			Locale:   rapid.SampledFrom([]string{"", "de", "th", "xx"}).Draw(t, "default locale"),
			Deals:    rapid.SliceOfNDistinct(genDeal, 0, 12, func(d Deal) string { return key(d.Document) }).Draw(t, "deals"),
			Billings: rapid.SliceOfNDistinct(genBilling, 0, 8, func(b Billing) string { return key(b.Document) }).Draw(t, "billings"),
		}
	})
)

// flat writes a snapshot as name=cents, without zeros.
func flat(s Snapshot) map[string]string {
	f := sheet{}
	for _, c := range s.Currencies {
		f.add(fmt.Sprint(c.Code, " deals"), big.NewInt(c.Deals))
		f.add(c.Code+" unscheduled", c.Unscheduled.Shift(2).BigInt())
		for _, a := range c.Months {
			at := c.Code + " " + a.Month.String()[:7]
			f.add(at+" confirmed", a.Confirmed.Shift(2).BigInt())
			f.add(at+" tentative", a.Tentative.Shift(2).BigInt())
			f.add(at+" billed", a.Billed.Shift(2).BigInt())
			f.add(at+" collected", a.Collected.Shift(2).BigInt())
		}
	}
	return f.text()
}

// naive is CONTRACT §5 again: fractions instead of decimals, a search instead of
// an order, dates instead of counted months.
func naive(in portfolio) map[string]string {
	f := sheet{}
	for _, d := range in.Deals {
		beaten := false
		for _, o := range in.Deals {
			beaten = beaten || better(o.Document, d.Document, in.Locale)
		}
		if beaten || !d.Published || d.Deleted || d.Status != "active" {
			continue
		}
		code := naiveCode(d.Currency, in.Currency)
		f.add(code+" deals", big.NewInt(1))
		p := naiveProbability(d)
		weighted := centsOf(new(big.Rat).Mul(d.Value.Decimal.Rat(), p))
		kind := " tentative"
		if p.Cmp(big.NewRat(3, 4)) >= 0 {
			kind = " confirmed"
		}
		months := naiveMonths(d)
		if len(months) == 0 {
			f.add(code+" unscheduled", weighted)
			continue
		}
		share := new(big.Int).Quo(weighted, big.NewInt(int64(len(months))))
		for _, m := range months {
			f.add(code+" "+m+kind, share)
			weighted.Sub(weighted, share)
		}
		f.add(code+" "+months[len(months)-1]+kind, weighted) // the remainder
	}
	for _, b := range in.Billings {
		beaten := false
		for _, o := range in.Billings {
			beaten = beaten || better(o.Document, b.Document, in.Locale)
		}
		if beaten || !b.Published || b.Deleted {
			continue
		}
		code, amount := naiveCode(b.Currency, in.Currency), centsOf(b.Amount.Decimal.Rat())
		switch {
		case b.Recognition != 0:
			f.add(code+" "+b.Recognition.String()[:7]+" billed", amount)
		case b.Invoice != 0:
			f.add(code+" "+b.Invoice.String()[:7]+" billed", amount)
		}
		if b.Collected != 0 {
			f.add(code+" "+b.Collected.String()[:7]+" collected", amount)
		}
	}
	return f.text()
}

// better reports whether o is another row of d's document that counts before d.
func better(o, d Document, locale string) bool {
	counts := o.UID == d.UID && o.DocumentID == d.DocumentID && o.Published && !o.Deleted && o.Locale != d.Locale
	return counts && d.Locale != locale && (o.Locale == locale || o.Locale < d.Locale)
}

func naiveCode(text, otherwise string) string {
	if strings.TrimSpace(text) == "" {
		text = otherwise
	}
	return strings.ToUpper(strings.TrimSpace(text))
}

func naiveProbability(d Deal) *big.Rat {
	percent := map[string]int64{
		"prospecting": 10, "qualification": 25, "proposal": 50, "negotiation": 75, "closed-won": 100, "closed-lost": 0,
	}
	stage := strings.ToLower(strings.TrimSpace(d.Stage))
	p, known := percent[stage]
	if !known {
		p = 50
	}
	result := big.NewRat(p, 100)
	if stage != "closed-won" && stage != "closed-lost" {
		if d.Probability.Valid {
			result = new(big.Rat).Quo(d.Probability.Decimal.Rat(), big.NewRat(100, 1))
		}
		if d.Override.Valid {
			result = new(big.Rat).Quo(d.Override.Decimal.Rat(), big.NewRat(100, 1))
		}
	}
	if result.Sign() < 0 {
		return new(big.Rat)
	}
	if result.Cmp(big.NewRat(1, 1)) > 0 {
		return big.NewRat(1, 1)
	}
	return result
}

func naiveMonths(d Deal) []string {
	start, end := d.Start, d.End
	if start == 0 && end == 0 {
		start, end = d.Close, d.Close
	} else if start == 0 {
		start = end
	} else if end == 0 {
		end = start
	}
	if start == 0 {
		return nil
	}
	var months []string
	for at := start.Start(); !at.After(end.Start()); at = at.AddDate(0, 1, 0) {
		months = append(months, at.Format("2006-01"))
		if len(months) > 1200 {
			return nil
		}
	}
	return months
}

// centsOf rounds half away from zero.
func centsOf(amount *big.Rat) *big.Int {
	text := new(big.Rat).Mul(amount, big.NewRat(100, 1)).FloatString(0)
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

type sheet map[string]*big.Int

func (f sheet) add(name string, n *big.Int) {
	if f[name] == nil {
		f[name] = new(big.Int)
	}
	f[name].Add(f[name], n)
}

func (f sheet) text() map[string]string {
	text := map[string]string{}
	for name, n := range f {
		if n.Sign() != 0 {
			text[name] = n.String()
		}
	}
	return text
}
