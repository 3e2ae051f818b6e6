package circuit

import "time"

// State of a breaker, as it stands in the table.
type State string

// The states. Only Closed lets calls through.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half_open" // one replica is probing; for everybody else it is open
)

// Transition is one change of the row, as the history keeps it.
type Transition struct {
	Name string
	// From equals To when a dead prober's lease was taken over, or when an
	// operator holds or resets a state that the breaker has already.
	From, To State
	// Forced: an operator holds the new state until a reset.
	Forced     bool
	Generation int64 // the one that this transition began
	// FailureCount is the count after it: 0 once closed.
	FailureCount int
	Actor        string // "dealbox", "cli:<os user>" or the name of an admin token
	Reason       string // one sentence, with the error that caused it; at most 500 bytes
	LastError    string // empty once closed
	At           time.Time
	OpenedAt     *time.Time // start of the outage; nil once closed
	RetryAt      *time.Time // when a probe is let through; only while open and not forced
}

// event is what happens to a breaker.
type event int

const (
	thresholdReached event = iota // enough failures in a row
	probeDue                      // the wait after opening is over, or a prober's lease is
	probeSucceeded
	probeFailed
	probeGivenBack // its process is stopping: that says nothing about Strapi
	operatorOpens
	operatorCloses
	operatorResets
)

// forcedState is the part of the row that decides.
type forcedState struct {
	State  State
	Forced bool
}

// next is the whole automaton: it returns where an event leads, and false when
// it changes nothing. Counting failures and comparing times is SQL,
// because the database's row and clock are the ones that all replicas share.
func next(from forcedState, e event) (forcedState, bool) {
	switch e {
	case operatorOpens:
		to := forcedState{Open, true}
		return to, to != from
	case operatorCloses:
		to := forcedState{Closed, true}
		return to, to != from
	case operatorResets:
		return forcedState{Closed, false}, true
	}
	if from.Forced {
		return from, false
	}
	switch {
	case from.State == Closed && e == thresholdReached:
		return forcedState{State: Open}, true
	case from.State != Closed && e == probeDue:
		return forcedState{State: HalfOpen}, true
	case from.State == HalfOpen && e == probeSucceeded:
		return forcedState{State: Closed}, true
	case from.State == HalfOpen && (e == probeFailed || e == probeGivenBack):
		return forcedState{State: Open}, true
	}
	return from, false
}
