package revenue

import (
	"bufio"
	"crypto/sha256"
	"fmt"
)

// Digest is the sha256 of everything that is stored of a snapshot: the same
// content, the same digest.
func (s Snapshot) Digest() []byte {
	h := sha256.New()
	w := bufio.NewWriter(h) // a hash never fails to write
	fmt.Fprintf(w, "%s %d\n", ModelVersion, s.Deals)
	for _, c := range s.Currencies {
		fmt.Fprintf(w, "%q %d %s\n", c.Code, c.Deals, c.Unscheduled.StringFixed(2))
		for _, m := range c.Months {
			fmt.Fprintf(w, "%s %s %s %s %s %s %s %s\n", m.Month,
				m.Confirmed.StringFixed(2), m.Tentative.StringFixed(2),
				m.Tiers.High.StringFixed(2), m.Tiers.Medium.StringFixed(2), m.Tiers.Low.StringFixed(2),
				m.Billed.StringFixed(2), m.Collected.StringFixed(2))
		}
	}
	_ = w.Flush()
	return h.Sum(nil)
}
