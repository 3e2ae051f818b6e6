package mirror

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/retry"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	later := now.Add(40 * time.Second)
	row := func(change func(*dbsqlc.EntityBeginRow)) dbsqlc.EntityBeginRow {
		r := dbsqlc.EntityBeginRow{WantSeq: 5, DoneSeq: 3, State: "pending", BegunAt: now, BreakerState: "closed"}
		change(&r)
		return r
	}
	open := func(r *dbsqlc.EntityBeginRow) { r.BreakerState, r.BreakerRetryAt = "open", &later }
	tests := map[string]struct {
		seq   int64
		row   dbsqlc.EntityBeginRow
		pause time.Duration
		want  step
		wait  time.Duration
	}{
		"begun":                                {5, row(func(r *dbsqlc.EntityBeginRow) { r.Begun = true }), 0, stepFetch, 0},
		"already done":                         {3, row(func(*dbsqlc.EntityBeginRow) {}), 0, stepDone, 0},
		"dead waits for a bump or a replay":    {5, row(func(r *dbsqlc.EntityBeginRow) { r.State = "dead" }), 0, stepDone, 0},
		"breaker open: until the probe":        {5, row(open), 0, stepSnooze, 41 * time.Second},
		"breaker open: an older job completes": {4, row(open), 0, stepDone, 0},
		"half open: soon":                      {5, row(func(r *dbsqlc.EntityBeginRow) { r.BreakerState = "half_open" }), 0, stepSnooze, time.Second},
		"forced open: no time is known":        {5, row(func(r *dbsqlc.EntityBeginRow) { r.BreakerState = "open" }), 0, stepSnooze, forcedOpenSnooze},
		"type paused":                          {5, row(func(*dbsqlc.EntityBeginRow) {}), 7 * time.Second, stepSnooze, 7 * time.Second},
		"type paused: an older job completes":  {4, row(func(*dbsqlc.EntityBeginRow) {}), 7 * time.Second, stepDone, 0},
		"after a failure":                      {5, row(func(r *dbsqlc.EntityBeginRow) { r.NextAttemptAt = &later }), 0, stepSnooze, 40 * time.Second},
		"after a failure: an older job completes": {
			4, row(func(r *dbsqlc.EntityBeginRow) { r.NextAttemptAt = &later }), 0, stepDone, 0,
		},
		"moved by another sync meanwhile": {5, row(func(*dbsqlc.EntityBeginRow) {}), 0, stepAgain, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			next, wait := decide(test.seq, test.row, test.pause)
			require.Equal(t, test.want, next)
			require.Equal(t, test.wait, wait)
		})
	}
}

func TestAttemptDelay(t *testing.T) {
	most := func() float64 { return 0.999999 }
	least := func() float64 { return 0 }
	require.InDelta(t, 10, attemptDelay(1, most).Seconds(), 0.01)
	require.InDelta(t, 5, attemptDelay(1, least).Seconds(), 0.01)
	require.InDelta(t, 40, attemptDelay(3, most).Seconds(), 0.01)
	require.InDelta(t, 3600, attemptDelay(12, most).Seconds(), 0.01, "an hour at most")
	require.InDelta(t, 3600, attemptDelay(1000, most).Seconds(), 0.01, "no overflow")
}

func TestIsAboutStrapi(t *testing.T) {
	_, ok := isAboutStrapi(errors.New("a value that does not fit"))
	require.False(t, ok)

	wait, ok := isAboutStrapi(fmt.Errorf("read: %w", aboutStrapi(&retry.DeferredError{After: time.Minute, Err: errors.New("429")})))
	require.True(t, ok)
	require.Equal(t, time.Minute, wait)
}
