package alerting

// Hysteresis keeps a rule that is judged by samples from flapping: Fire bad ones
// in a row raise, Calm good ones in a row resolve.
type Hysteresis struct{ RaiseAfter, ClearAfter int }

// Streak is how many samples in a row were bad, or good. One of the two is 0.
type Streak struct{ Bad, Good int }

// Next is the streak with one more sample.
func (s Streak) Next(bad bool) Streak {
	if bad {
		return Streak{Bad: s.Bad + 1}
	}
	return Streak{Good: s.Good + 1}
}

// Raises tells whether a rule fires with this streak.
func (h Hysteresis) Raises(s Streak) bool { return s.Bad >= h.RaiseAfter }

// Resolves tells whether a rule is over with this streak.
func (h Hysteresis) Resolves(s Streak) bool { return s.Good >= h.ClearAfter }
