package httpapi

import (
	"net/http"
	"sync/atomic"
)

// Readiness is what serve knows and the database cannot tell: whether the
// program has started and whether it is stopping. The zero value is starting.
type Readiness struct{ phase atomic.Int32 }

const (
	phaseStarting = iota
	phaseReady
	phaseStopping
)

// Ready says that the schema was checked and deliveries can be taken.
func (r *Readiness) Ready() { r.phase.CompareAndSwap(phaseStarting, phaseReady) }

// Stopping makes /readyz refuse from now on, so that no new requests are sent
// here. There is no way back.
func (r *Readiness) Stopping() { r.phase.Store(phaseStopping) }

// check is nil when the program itself is ready.
func (r *Readiness) check() error {
	switch r.phase.Load() {
	case phaseReady:
		return nil
	case phaseStopping:
		return notReady("stopping", "Dealbox is shutting down")
	default:
		return notReady("starting", "Dealbox waits for its database")
	}
}

func notReady(code, message string) error {
	return &Error{Status: http.StatusServiceUnavailable, Code: code, Message: message}
}
