package revenue

import (
	"slices"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
)

func TestCompute_Counts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit   func(*Deal)
		counts bool
	}{
		"an active, published deal":  {func(*Deal) {}, true},
		"not published":              {func(d *Deal) { d.Published = false }, false},
		"deleted":                    {func(d *Deal) { d.Deleted = true }, false},
		"no status":                  {func(d *Deal) { d.Status = "" }, false},
		"another status":             {func(d *Deal) { d.Status = "lost" }, false},
		"the status in another case": {func(d *Deal) { d.Status = "Active" }, false},
		"the status with a space":    {func(d *Deal) { d.Status = "active " }, false},
		"no value":                   {func(d *Deal) { d.Value = null }, true},
		"no stage":                   {func(d *Deal) { d.Stage = "" }, true},
		"no month":                   {func(d *Deal) { d.Start, d.End, d.Close = 0, 0, 0 }, true},
		"closed-lost":                {func(d *Deal) { d.Stage = "closed-lost" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := int64(0)
			if tc.counts {
				want = 1
			}
			require.Equal(t, want, compute(deal(tc.edit)).Deals)
		})
	}
}

func TestCompute_Probability(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stage                 string
		override, probability decimal.NullDecimal
		want                  string // of a value of 1,000
		confirmed             bool
	}{
		"prospecting is 0.10":                        {"prospecting", null, null, "100", false},
		"qualification is 0.25":                      {"qualification", null, null, "250", false},
		"proposal is 0.50":                           {"proposal", null, null, "500", false},
		"negotiation is 0.75":                        {"negotiation", null, null, "750", true},
		"closed-won is 1":                            {"closed-won", null, null, "1000", true},
		"closed-lost is 0":                           {"closed-lost", null, null, "0", false},
		"another stage is 0.50":                      {"demo", null, null, "500", false},
		"no stage is 0.50":                           {"", null, null, "500", false},
		"a stage is trimmed and lower case":          {" Negotiation\n", null, null, "750", true},
		"so is closed-won":                           {"Closed-Won", num("5"), num("5"), "1000", true},
		"probability goes before the stage":          {"proposal", null, num("30"), "300", false},
		"override goes before probability":           {"proposal", num("90"), num("30"), "900", true},
		"0 is a value of probability":                {"negotiation", null, num("0"), "0", false},
		"0 is a value of override":                   {"negotiation", num("0"), num("30"), "0", false},
		"closed-won is 1 whatever the fields say":    {"closed-won", num("0"), num("10"), "1000", true},
		"closed-lost is 0 whatever the fields say":   {"closed-lost", num("100"), num("90"), "0", false},
		"override over 100 is clamped":               {"proposal", num("150"), null, "1000", true},
		"override under 0 is clamped":                {"proposal", num("-1"), num("80"), "0", false},
		"probability over 100 is clamped":            {"proposal", null, num("100.01"), "1000", true},
		"probability under 0 is clamped":             {"proposal", null, num("-50"), "0", false},
		"an absurd probability is clamped":           {"proposal", null, num("1" + strings.Repeat("0", 5000)), "1000", true},
		"0.75 is confirmed":                          {"proposal", null, num("75"), "750", true},
		"below 0.75 is tentative":                    {"proposal", null, num("74.9999"), "750", false}, // 749.999
		"a fraction of a percent is kept":            {"proposal", null, num("33.333"), "333.33", false},
		"a fraction rounds half up to the cent":      {"proposal", null, num("0.0005"), "0.01", false},  // 0.005
		"a fraction under half a cent brings no row": {"proposal", null, num("0.00049"), "0.00", false}, // 0.0049
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compute(deal(func(d *Deal) { d.Stage, d.Override, d.Probability = tc.stage, tc.override, tc.probability }))
			months := only(t, s).Months
			if dec(tc.want).IsZero() {
				require.Empty(t, months, "a month without value has no row")
				return
			}
			require.Len(t, months, 1)
			confirmed, tentative := months[0].Confirmed, months[0].Tentative
			if !tc.confirmed {
				confirmed, tentative = tentative, confirmed
			}
			equal(t, tc.want, confirmed)
			equal(t, "0", tentative)
		})
	}
}

func TestCompute_Months(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		value             string // at probability 1
		start, end, close string
		want              string // month=amount …, or unscheduled=amount
	}{
		"start to end, both included":            {"300", "2026-01", "2026-03", "", "2026-01=100 2026-02=100 2026-03=100"},
		"over the turn of a year":                {"200", "2026-12", "2027-01", "", "2026-12=100 2027-01=100"},
		"one month":                              {"300", "2026-02", "2026-02", "", "2026-02=300"},
		"the remainder goes into the last month": {"100", "2026-01", "2026-03", "", "2026-01=33.33 2026-02=33.33 2026-03=33.34"},
		"the share is cut, not rounded":          {"200", "2026-01", "2026-03", "", "2026-01=66.66 2026-02=66.66 2026-03=66.68"},
		"fewer cents than months":                {"0.02", "2026-01", "2026-03", "", "2026-03=0.02"},
		"a negative value is the mirror image":   {"-100", "2026-01", "2026-03", "", "2026-01=-33.33 2026-02=-33.33 2026-03=-33.34"},
		"the range goes before the close date":   {"300", "2026-01", "2026-01", "2026-09", "2026-01=300"},
		"only a start: that month alone":         {"300", "2026-01", "", "2026-09", "2026-01=300"},
		"only an end: that month alone":          {"300", "", "2026-03", "2026-09", "2026-03=300"},
		"no range: the month of the close date":  {"300", "", "", "2026-09-30", "2026-09=300"},
		"no date at all: unscheduled":            {"300", "", "", "", "unscheduled=300"},
		"end before start: unscheduled":          {"300", "2026-03", "2026-02", "2026-09", "unscheduled=300"},
		"longer than 1,200 months: unscheduled":  {"1201", "1926-01", "2026-01", "2026-09", "unscheduled=1201"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compute(deal(func(d *Deal) {
				d.Stage, d.Value = "closed-won", num(tc.value)
				d.Start, d.End, d.Close = month(tc.start), month(tc.end), month(tc.close)
			}))
			require.Equal(t, tc.want, schedule(only(t, s)))
		})
	}
	t.Run("1,200 months are scheduled", func(t *testing.T) {
		t.Parallel()
		s := compute(deal(func(d *Deal) {
			d.Stage, d.Value, d.Start, d.End = "closed-won", num("1200"), month("1926-01"), month("2025-12")
		}))
		require.Len(t, only(t, s).Months, 1200)
		equal(t, "1", only(t, s).Months[1199].Confirmed)
	})
}

func TestCompute_Rounding(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ value, probability, want string }{
		"half a cent goes up":                         {"0.05", "10", "0.01"},
		"less than half goes down":                    {"0.0499999", "10", "0"},
		"a negative half goes away from zero":         {"-0.05", "10", "-0.01"},
		"what a float gets wrong":                     {"1.005", "100", "1.01"},
		"and at the edge of its digits":               {"123456789012345.675", "100", "123456789012345.68"},
		"each deal is rounded before it is spread":    {"10.005", "100", "10.01"},
		"more digits than Strapi's decimals can have": {"0.333333333333333333333333333333", "50", "0.17"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compute(deal(func(d *Deal) {
				d.Value, d.Probability = num(tc.value), num(tc.probability)
				d.Start, d.End, d.Close = 0, 0, 0
			}))
			equal(t, tc.want, only(t, s).Unscheduled)
		})
	}
}

func TestCompute_Tiers(t *testing.T) {
	t.Parallel()
	won := deal(func(d *Deal) { d.DocumentID, d.Stage, d.Value = "won", "closed-won", num("1000") })
	open := deal(func(d *Deal) { d.DocumentID, d.Stage, d.Value = "open", "proposal", num("500") })
	a := only(t, compute(won, open)).Months[0]
	equal(t, "1000", a.Confirmed)
	equal(t, "250", a.Tentative)
	equal(t, "1250", a.Total())
	equal(t, "1000", a.Tiers.High)
	equal(t, "187.50", a.Tiers.Medium)
	equal(t, "62.50", a.Tiers.Low)

	// Of two cents 1.5 are medium and 0.5 low, and both halves go up.
	a = only(t, compute(deal(func(d *Deal) { d.Value = num("0.04") }))).Months[0]
	equal(t, "0.02", a.Tiers.Medium)
	equal(t, "0.01", a.Tiers.Low)
}

func TestCompute_Currency(t *testing.T) {
	t.Parallel()
	in := portfolio{Currency: " thb "}
	for i, text := range []string{"THB", "", " ", "thb", "\tThb ", "usd", "USD", "€"} {
		in.Deals = append(in.Deals, deal(func(d *Deal) { d.DocumentID, d.Currency = string(rune('a'+i)), text }))
	}
	s := in.compute()
	deals := map[string]int64{}
	for _, c := range s.Currencies {
		deals[c.Code] = c.Deals
	}
	require.Equal(t, map[string]int64{"THB": 5, "USD": 2, "€": 1}, deals)
	require.Equal(t, int64(8), s.Deals, "of all currencies")
	require.True(t, slices.IsSortedFunc(s.Currencies, func(a, b Currency) int { return strings.Compare(a.Code, b.Code) }))

	long := only(t, compute(deal(func(d *Deal) { d.Currency = strings.Repeat("é", 5000) })))
	require.Equal(t, strings.Repeat("É", maxCurrencyLength/2), long.Code, "cut to what an index can hold")
	require.Equal(t, strings.Repeat("€", maxCurrencyLength/3), currencyCode(strings.Repeat("€", 20), "THB"), "and not within a character")
}

func TestCompute_Locales(t *testing.T) {
	t.Parallel()
	in := func(locale, value string, edits ...func(*Deal)) Deal {
		return deal(append(edits, func(d *Deal) {
			d.Locale, d.Value, d.Stage = locale, num(value), "closed-won"
			d.Start, d.End, d.Close = 0, 0, 0
		})...)
	}
	unpublished := func(d *Deal) { d.Published = false }
	deleted := func(d *Deal) { d.Deleted = true }
	lost := func(d *Deal) { d.Status = "lost" }
	for name, tc := range map[string]struct {
		deals []Deal
		count int64
		want  string
	}{
		"once, in the default locale":           {[]Deal{in("de", "1"), in("", "2"), in("th", "3")}, 1, "2"},
		"else in the first by name":             {[]Deal{in("th", "3"), in("de", "1"), in("en", "2")}, 1, "1"},
		"a tombstone does not speak for it":     {[]Deal{in("", "2", deleted), in("th", "3")}, 1, "3"},
		"nor does an unpublished row":           {[]Deal{in("", "2", unpublished), in("th", "3")}, 1, "3"},
		"but another status in the default one": {[]Deal{in("", "2", lost), in("th", "3")}, 0, ""},
		"the same id of another type is another deal": {[]Deal{in("", "2"), in("", "3", func(d *Deal) {
			d.UID = "api::other.other"
		})}, 2, "5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compute(tc.deals...)
			require.Equal(t, tc.count, s.Deals)
			if tc.count > 0 {
				equal(t, tc.want, only(t, s).Unscheduled)
			}
		})
	}
}

// On a real Strapi each row of a localized type has a locale, also the default one.
func TestCompute_DefaultLocale(t *testing.T) {
	t.Parallel()
	in := func(locale, value string) Deal {
		return deal(func(d *Deal) {
			d.Locale, d.Value, d.Stage = locale, num(value), "closed-won"
			d.Start, d.End, d.Close = 0, 0, 0
		})
	}
	for name, tc := range map[string]struct {
		locales []string
		want    string
	}{
		"it counts, wherever its name sorts": {[]string{"de", "en", "fr"}, "2"},
		"also beside a row without a locale": {[]string{"", "en"}, "2"},
		"a document that lacks it counts":    {[]string{"fr", "de"}, "1"},
		"so does one of a type without any":  {[]string{""}, "4"},
		"the default one alone":              {[]string{"en"}, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := map[string]string{"de": "1", "en": "2", "fr": "3", "": "4"}
			input := portfolio{Currency: "THB", Locale: "en"}
			for _, locale := range tc.locales {
				input.Deals = append(input.Deals, in(locale, value[locale]))
				input.Billings = append(input.Billings, billing(func(b *Billing) { b.Locale, b.Amount, b.Collected = locale, num(value[locale]), 0 }))
			}
			s := input.compute()
			require.EqualValues(t, 1, s.Deals)
			equal(t, tc.want, only(t, s).Unscheduled)
			require.Equal(t, "2026-03="+tc.want, byMonth(only(t, s), func(a Amounts) decimal.Decimal { return a.Billed }))
		})
	}
}

func TestCompute_Billings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit              func(*Billing)
		billed, collected string // month=amount
	}{
		"billed in the recognition month":      {func(*Billing) {}, "2026-03=100", "2026-05=100"},
		"else in the month of the invoice":     {func(b *Billing) { b.Recognition = 0 }, "2026-04=100", "2026-05=100"},
		"in none when there is neither":        {func(b *Billing) { b.Recognition, b.Invoice = 0, 0 }, "", "2026-05=100"},
		"not collected yet":                    {func(b *Billing) { b.Collected = 0 }, "2026-03=100", ""},
		"not published":                        {func(b *Billing) { b.Published = false }, "", ""},
		"deleted":                              {func(b *Billing) { b.Deleted = true }, "", ""},
		"no amount":                            {func(b *Billing) { b.Amount = null }, "", ""},
		"0":                                    {func(b *Billing) { b.Amount = num("0") }, "", ""},
		"a credit note":                        {func(b *Billing) { b.Amount = num("-100") }, "2026-03=-100", "2026-05=-100"},
		"half a cent goes up":                  {func(b *Billing) { b.Amount = num("0.005") }, "2026-03=0.01", "2026-05=0.01"},
		"no currency: in the default one":      {func(b *Billing) { b.Currency = "" }, "2026-03=100", "2026-05=100"},
		"another currency":                     {func(b *Billing) { b.Currency = "usd" }, "", ""},
		"an impossible amount: left out":       {func(b *Billing) { b.Amount = num("1e24") }, "", ""},
		"the largest possible amount is there": {func(b *Billing) { b.Amount, b.Collected = num("999999999999999999999999"), 0 }, "2026-03=999999999999999999999999", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := billing(tc.edit)
			s := portfolio{Currency: "THB", Billings: []Billing{b}}.compute()
			require.Zero(t, s.Deals)
			thb := currency(s, "THB")
			require.Equal(t, tc.billed, byMonth(thb, func(a Amounts) decimal.Decimal { return a.Billed }))
			require.Equal(t, tc.collected, byMonth(thb, func(a Amounts) decimal.Decimal { return a.Collected }))
			if b.Currency == "usd" {
				require.Equal(t, "2026-03=100", byMonth(currency(s, "USD"), func(a Amounts) decimal.Decimal { return a.Billed }))
			}
		})
	}
	t.Run("a billing in several locales counts once", func(t *testing.T) {
		t.Parallel()
		s := portfolio{Currency: "THB", Billings: []Billing{
			billing(func(b *Billing) { b.Locale = "th" }), billing(func(b *Billing) { b.Amount = num("7") }),
		}}.compute()
		require.Equal(t, "2026-03=7", byMonth(only(t, s), func(a Amounts) decimal.Decimal { return a.Billed }))
	})
}

func TestCompute_StrangeValues(t *testing.T) {
	t.Parallel()
	value := func(text string) Snapshot {
		return compute(deal(func(d *Deal) {
			d.Value, d.Stage, d.Start, d.End, d.Close = num(text), "closed-won", 0, 0, 0
		}))
	}
	t.Run("a negative value lowers the forecast", func(t *testing.T) {
		t.Parallel()
		equal(t, "-12.35", only(t, value("-12.345")).Unscheduled)
	})
	t.Run("the largest possible value is exact", func(t *testing.T) {
		t.Parallel()
		s := value("999999999999999999999999.994")
		equal(t, "999999999999999999999999.99", only(t, s).Unscheduled)
		require.Zero(t, s.Impossible)
	})
	for _, text := range []string{"1e24", "-1e24", "1e9999", "1" + strings.Repeat("0", 131_071)} {
		t.Run("an impossible value is left out, the deal counts", func(t *testing.T) {
			t.Parallel()
			s := value(text)
			equal(t, "0", only(t, s).Unscheduled)
			require.Equal(t, int64(1), s.Deals)
			require.Equal(t, int64(1), s.Impossible)
		})
	}
	t.Run("months that cancel out have no row", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, only(t, compute(
			deal(func(d *Deal) { d.DocumentID = "plus" }),
			deal(func(d *Deal) { d.DocumentID, d.Value = "minus", num("-1000") }),
		)).Months)
	})
	t.Run("nothing at all", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, Snapshot{}, portfolio{Currency: "THB"}.compute())
	})
}

// deal is a published, active deal of 1,000 THB in March 2026, after the edits.
func deal(edits ...func(*Deal)) Deal {
	d := Deal{
		Document: Document{UID: "api::pipeline-deal.pipeline-deal", DocumentID: "deal", Published: true},
		Status:   "active", Stage: "proposal", Currency: "THB", Value: num("1000"), Start: month("2026-03"), End: month("2026-03"),
	}
	for _, edit := range edits {
		edit(&d)
	}
	return d
}

// billing is a published billing of 100 THB, after the edit.
func billing(edit func(*Billing)) Billing {
	b := Billing{
		Document: Document{UID: "api::billing.billing", DocumentID: "billing", Published: true}, Currency: "THB", Amount: num("100"),
		Recognition: month("2026-03"), Invoice: month("2026-04-05"), Collected: month("2026-05-06"),
	}
	edit(&b)
	return b
}

func compute(deals ...Deal) Snapshot { return portfolio{Currency: "THB", Deals: deals}.compute() }

func only(t *testing.T, s Snapshot) Currency {
	t.Helper()
	require.Len(t, s.Currencies, 1)
	return s.Currencies[0]
}

func currency(s Snapshot, code string) Currency {
	for _, c := range s.Currencies {
		if c.Code == code {
			return c
		}
	}
	return Currency{}
}

// schedule writes the confirmed months as month=amount, and what is unscheduled.
func schedule(c Currency) string {
	text := byMonth(c, func(a Amounts) decimal.Decimal { return a.Confirmed })
	if !c.Unscheduled.IsZero() {
		text = strings.TrimSpace(text + " unscheduled=" + c.Unscheduled.String())
	}
	return text
}

func byMonth(c Currency, of func(Amounts) decimal.Decimal) string {
	var parts []string
	for _, a := range c.Months {
		if v := of(a); !v.IsZero() {
			parts = append(parts, a.Month.String()[:7]+"="+v.String())
		}
	}
	return strings.Join(parts, " ")
}

func dec(text string) decimal.Decimal { return decimal.RequireFromString(text) }

func num(text string) decimal.NullDecimal { return decimal.NewNullDecimal(dec(text)) }

var null decimal.NullDecimal

// month is 0 for an empty text.
func month(text string) Month {
	if text == "" {
		return 0
	}
	m, err := ParseMonth(text)
	if err != nil {
		panic(err)
	}
	return m
}

func equal(t *testing.T, want string, got decimal.Decimal) {
	t.Helper()
	require.True(t, dec(want).Equal(got), "want %s, got %s", want, got)
}
