// Package health measures how well Dealbox works, has every limit past which a value
// is a warning, and evaluates the whole. The HTTP answers, /metrics, `dealbox
// doctor` and the alerts use the limits from here, so they cannot disagree. The
// package imports no stage.
package health

import "time"

// Every limit past which Dealbox warns, raises an alert or refuses to work.
const (
	// MaxPendingAge is how long an event may wait to be mirrored. A healthy one takes
	// milliseconds, and a failing document has its own alert.
	MaxPendingAge = 5 * time.Minute
	// CriticalPendingAge is the age from which a waiting event is critical: nothing
	// that passes by itself takes that long.
	CriticalPendingAge = time.Hour

	// MaxClockSkew is how far this machine's clock may be from the database's. Jobs
	// start late or early by the skew.
	MaxClockSkew = 2 * time.Second
	// MaxWorkerClockSkew is the skew past which workers do not start: River's leases
	// and schedules would be wrong.
	MaxWorkerClockSkew = 30 * time.Second

	// MinPartitionDays is how many days after today must have a partition of
	// inbox_event. Dealbox makes 14 ahead, so fewer than 7 means that a week of
	// attempts failed. Without one for today no webhook can be committed.
	MinPartitionDays = 7

	// MaxRoundTrip is how long one round trip to the database may take: every webhook
	// waits for some of them.
	MaxRoundTrip = 50 * time.Millisecond

	// A reconciliation is overdue when none ran for missedReconciliations intervals and
	// reconcileGrace: a run may wait for a full one before it, and for the lease of a
	// runner that died.
	missedReconciliations = 3
	reconcileGrace        = 10 * time.Minute

	// ProbeTimeout bounds all statements of one measurement together: an unhealthy
	// answer is due within 2 s.
	ProbeTimeout = 1500 * time.Millisecond
)
