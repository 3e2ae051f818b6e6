package alerting

// Hysteresis keeps a rule that is checked at intervals from flapping.
type Hysteresis struct {
	RaiseAfter int // bad checks in a row that raise
	ClearAfter int // good checks in a row that resolve
}

// Streak counts the checks in a row that were bad, or good. One of the two is 0.
type Streak struct{ Bad, Good int }

// Next returns the streak with one more check.
func (s Streak) Next(bad bool) Streak {
	if bad {
		return Streak{Bad: s.Bad + 1}
	}
	return Streak{Good: s.Good + 1}
}

// Raises reports whether a rule fires with this streak.
func (h Hysteresis) Raises(s Streak) bool { return s.Bad >= h.RaiseAfter }

// Resolves reports whether a rule is over with this streak.
func (h Hysteresis) Resolves(s Streak) bool { return s.Good >= h.ClearAfter }
