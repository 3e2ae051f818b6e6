package mirror

import (
	"time"

	"dealbox/internal/circuit"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/retry"
)

// step is what a sync job does next.
type step int

const (
	stepFetch  step = iota // the attempt has begun: ask Strapi
	stepDone               // nothing is left to do for this job
	stepSnooze             // not now
	stepAgain              // another sync moved the row: read it again
)

// decide returns what follows from the row that step 1 read, and how long to wait
// first. pause is how long the syncs of the type still wait. A job that must wait completes when a later
// job holds the document, so that a long outage keeps one job a document.
func decide(seq int64, row dbsqlc.EntityBeginRow, pause time.Duration) (step, time.Duration) {
	waiting := row.BreakerState != string(circuit.Closed) || pause > 0 ||
		row.NextAttemptAt != nil && row.NextAttemptAt.After(row.BegunAt)
	switch {
	case row.Begun:
		return stepFetch, 0
	case row.DoneSeq >= seq, row.State == "dead":
		return stepDone, 0
	case waiting && seq < row.WantSeq:
		return stepDone, 0
	case row.BreakerState == string(circuit.Open) && row.BreakerRetryAt != nil:
		// The probe runs at retry_at; a little later the breaker is closed, or open again.
		return stepSnooze, max(row.BreakerRetryAt.Sub(row.BegunAt), 0) + time.Second
	case row.BreakerState == string(circuit.HalfOpen):
		return stepSnooze, time.Second
	case row.BreakerState == string(circuit.Open):
		return stepSnooze, forcedOpenSnooze
	case pause > 0:
		return stepSnooze, pause
	case waiting:
		return stepSnooze, row.NextAttemptAt.Sub(row.BegunAt)
	}
	return stepAgain, 0
}

// forcedOpenSnooze is how long a job waits while an operator holds the breaker open:
// no time is known then.
const forcedOpenSnooze = 15 * time.Second

// jobPolicy is the backoff between attempts of one document: 10 s × 2ⁿ, at most an hour.
var jobPolicy = retry.Policy{InitialDelay: 10 * time.Second, MaxDelay: time.Hour, Base: 2}

// attemptDelay returns how long to wait after the given number of failures in a row:
// the policy's delay, of which at least half is kept so that attempts spread out
// and never come at once.
func attemptDelay(failures int, rnd func() float64) time.Duration {
	full := jobPolicy.Delay(max(failures-1, 0), func() float64 { return 1 })
	return full/2 + time.Duration(rnd()*float64(full/2))
}
