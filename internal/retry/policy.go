// Package retry calls a function again that failed for a passing reason: with
// exponential backoff and full jitter, and no longer than the caller's context
// allows. It imports nothing of ours.
package retry

import (
	"math"
	"math/rand/v2"
	"time"
)

// defaultBase doubles the delay with each retry.
const defaultBase = 2

// Policy is how often and after which delays to try again. The zero value never
// tries again.
type Policy struct {
	// MaxRetries is the number of tries after the first one.
	MaxRetries int
	// InitialDelay is the longest delay before the first retry.
	InitialDelay time.Duration
	// FirstDelay caps the delay before the first retry only. 0 means no such cap.
	FirstDelay time.Duration
	// MaxDelay caps the delay of every retry. 0 means no cap.
	MaxDelay time.Duration
	// Base is the factor from one retry to the next, at least 1. 0 means 2.
	Base float64
	// Try is how long one try may take. Do defers a retry that would have less than
	// this before the context's deadline. 0 means that the deadline need only lie
	// beyond the wait.
	Try time.Duration
}

// Delay returns how long to wait before retry n, counted from 0: a random part of
// min(MaxDelay, InitialDelay × Baseⁿ). The whole range is random, because that
// spreads many waiting callers best ("full jitter" in Exponential Backoff And
// Jitter, AWS Architecture Blog, 2015). rnd returns numbers in [0, 1); nil means
// math/rand/v2.
func (p Policy) Delay(n int, rnd func() float64) time.Duration {
	if rnd == nil {
		rnd = rand.Float64
	}
	return time.Duration(rnd() * float64(p.ceiling(n)))
}

// ceiling returns the longest delay before retry n.
func (p Policy) ceiling(n int) time.Duration {
	if p.InitialDelay <= 0 {
		return 0
	}
	base := p.Base
	if base == 0 {
		base = defaultBase
	}
	limit := p.MaxDelay
	if limit <= 0 {
		limit = math.MaxInt64
	}
	if n <= 0 && p.FirstDelay > 0 {
		limit = min(limit, p.FirstDelay)
	}
	// In floats, so that a large n becomes infinite rather than negative.
	grown := float64(p.InitialDelay) * math.Pow(max(base, 1), float64(max(n, 0)))
	if grown >= float64(limit) {
		return limit
	}
	return time.Duration(grown)
}
