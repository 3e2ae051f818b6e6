package health

import "sync/atomic"

// NotReadyError says why no webhook can be committed here now.
type NotReadyError struct {
	// Code is starting, stopping, database_unavailable, database_read_only,
	// database_locked, disk_full, too_many_connections, no_partition or not_committed.
	Code    string
	Message string // for the caller
	First   string // what to do first; "" where nothing needs doing
	Err     error  // for the log; nil when there is no more to say
}

// Error implements error.
func (e *NotReadyError) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *NotReadyError) Unwrap() error { return e.Err }

// Readiness is what only this process knows: whether it has started and whether
// it is stopping. The zero value is starting.
type Readiness struct{ phase atomic.Int32 }

const (
	phaseStarting = iota
	phaseReady
	phaseStopping
)

// Ready marks the start as done: the schema is current and webhooks are accepted.
func (r *Readiness) Ready() { r.phase.CompareAndSwap(phaseStarting, phaseReady) }

// Stopping makes Check fail from now on, so that load balancers send no new
// requests. There is no way back.
func (r *Readiness) Stopping() { r.phase.Store(phaseStopping) }

// IsStopping reports whether Stopping was called.
func (r *Readiness) IsStopping() bool { return r.phase.Load() == phaseStopping }

// Check returns a *NotReadyError while the process starts or stops.
func (r *Readiness) Check() error {
	switch r.phase.Load() {
	case phaseReady:
		return nil
	case phaseStopping:
		return &NotReadyError{Code: "stopping", Message: "Dealbox is stopping; send new requests to another process"}
	default:
		return &NotReadyError{Code: "starting", Message: "Dealbox waits for its database"}
	}
}
