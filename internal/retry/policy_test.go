package retry

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func fixed(x float64) func() float64 { return func() float64 { return x } }

// almostOne is the largest number that math/rand/v2 returns.
var almostOne = math.Nextafter(1, 0)

// standard is the policy of the service's default settings.
var standard = Policy{MaxRetries: 3, InitialDelay: time.Second, MaxDelay: time.Minute, Base: 2}

func TestPolicy_Delay(t *testing.T) {
	t.Parallel()
	jobs := Policy{InitialDelay: 10 * time.Second, MaxDelay: time.Hour, Base: 2}
	quick := Policy{InitialDelay: time.Second, FirstDelay: 100 * time.Millisecond, Base: 2}
	uncapped := Policy{InitialDelay: time.Second, Base: 2}
	for name, c := range map[string]struct {
		policy Policy
		n      int
		rnd    float64
		want   time.Duration
	}{
		"First":              {standard, 0, 0.5, 500 * time.Millisecond},
		"Second":             {standard, 1, 0.5, time.Second},
		"Third":              {standard, 2, 0.5, 2 * time.Second},
		"JitterIsFull":       {standard, 5, 0, 0},
		"Capped":             {standard, 6, 0.5, 30 * time.Second},
		"CappedFarOut":       {standard, 1 << 30, 0.5, 30 * time.Second},
		"NegativeIsFirst":    {standard, -3, 0.5, 500 * time.Millisecond},
		"Jobs":               {jobs, 4, 0.5, 80 * time.Second},
		"JobsCapped":         {jobs, 12, 0.5, 30 * time.Minute},
		"QuickFirst":         {quick, 0, 0.5, 50 * time.Millisecond},
		"QuickFirstOnly":     {quick, 1, 0.5, time.Second},
		"BaseZeroMeansTwo":   {Policy{InitialDelay: time.Second}, 3, 0.5, 4 * time.Second},
		"BaseBelowOne":       {Policy{InitialDelay: time.Second, Base: 0.1}, 3, 0.5, 500 * time.Millisecond},
		"FractionalBase":     {Policy{InitialDelay: time.Second, Base: 1.5}, 2, 0.5, 1125 * time.Millisecond},
		"InitialOverCap":     {Policy{InitialDelay: time.Hour, MaxDelay: time.Minute, Base: 2}, 0, 0.5, 30 * time.Second},
		"NoInitial":          {Policy{MaxDelay: time.Minute, Base: 2}, 5000, 0.5, 0},
		"UncappedNoOverflow": {uncapped, 5000, 0.5, 1 << 62},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.policy.Delay(c.n, fixed(c.rnd)))
		})
	}
}

func TestPolicy_Delay_Bounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			InitialDelay: time.Duration(rapid.Int64Min(-10).Draw(t, "initial")),
			MaxDelay:     time.Duration(rapid.Int64Min(0).Draw(t, "max")),
			Base:         rapid.Float64Range(-1, 1e6).Draw(t, "base"),
		}
		n := rapid.Int().Draw(t, "n")
		rnd := rapid.Float64Range(0, almostOne).Draw(t, "rnd")

		d := p.Delay(n, fixed(rnd))

		require.GreaterOrEqual(t, d, time.Duration(0))
		if p.MaxDelay > 0 {
			require.LessOrEqual(t, d, p.MaxDelay)
		}
		require.GreaterOrEqual(t, p.Delay(n, fixed(almostOne)), d, "more luck never waits shorter")
		if n < math.MaxInt {
			require.GreaterOrEqual(t, p.Delay(n+1, fixed(rnd)), d, "a later retry never waits shorter")
		}
	})
}

func TestPolicy_Delay_RealRandomness(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 100 {
		d := standard.Delay(3, nil)
		require.Less(t, d, 8*time.Second)
		seen[d] = true
	}
	require.Greater(t, len(seen), 90)
}
