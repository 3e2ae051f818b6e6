package revenue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSnapshot_Digest(t *testing.T) {
	t.Parallel()
	build := func(edit func(*Snapshot)) string {
		s := Snapshot{Deals: 3, Currencies: []Currency{{
			Code: "THB", Deals: 2, Unscheduled: dec("1"), Months: []Amounts{{
				Month: NewMonth(2026, time.January), Confirmed: dec("2"), Tentative: dec("3"),
				Tiers: Tiers{High: dec("4"), Medium: dec("5"), Low: dec("6")}, Billed: dec("7"), Collected: dec("8"),
			}},
		}}}
		edit(&s)
		return string(s.Digest())
	}
	digests := map[string]string{build(func(*Snapshot) {}): "as it is"}
	m := func(s *Snapshot) *Amounts { return &s.Currencies[0].Months[0] }
	for name, edit := range map[string]func(*Snapshot){
		"deals":          func(s *Snapshot) { s.Deals++ },
		"currency":       func(s *Snapshot) { s.Currencies[0].Code = "USD" },
		"currency deals": func(s *Snapshot) { s.Currencies[0].Deals++ },
		"unscheduled":    func(s *Snapshot) { s.Currencies[0].Unscheduled = dec("1.01") },
		"no month":       func(s *Snapshot) { s.Currencies[0].Months = nil },
		"month":          func(s *Snapshot) { m(s).Month++ },
		"confirmed":      func(s *Snapshot) { m(s).Confirmed = dec("2.01") },
		"tentative":      func(s *Snapshot) { m(s).Tentative = dec("3.01") },
		"high":           func(s *Snapshot) { m(s).Tiers.High = dec("4.01") },
		"medium":         func(s *Snapshot) { m(s).Tiers.Medium = dec("5.01") },
		"low":            func(s *Snapshot) { m(s).Tiers.Low = dec("6.01") },
		"billed":         func(s *Snapshot) { m(s).Billed = dec("7.01") },
		"collected":      func(s *Snapshot) { m(s).Collected = dec("8.01") },
	} {
		d := build(edit)
		require.NotContains(t, digests, d, "%s is not in the digest", name)
		digests[d] = name
	}
	require.Contains(t, digests, build(func(s *Snapshot) { m(s).Confirmed = dec("2.00") }), "zeros at the end say nothing")
	require.Contains(t, digests, build(func(s *Snapshot) { s.Impossible++ }), "what is not stored is not in it")
}
