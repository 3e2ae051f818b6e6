package httpapi

import (
	"errors"
	"net/http"
	"sync"

	"dealbox/internal/alerting"
	"dealbox/internal/webhooksig"
)

// signatures counts authentic and refused deliveries in memory, so that a stranger's
// request costs no statement and leaves no row. The number of keys is fixed.
type signatures struct {
	mu     sync.Mutex
	window alerting.SignatureWindow
}

func (s *signatures) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.Accepted++
}

func (s *signatures) refused(err error, h http.Header) {
	var why *webhooksig.SignatureError
	if !errors.As(err, &why) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.window.Refused == nil {
		s.window.Refused = alerting.Refusals{}
	}
	s.window.Refused[alerting.Refusal{Code: why.Code, Scheme: string(why.Scheme), Named: len(h["X-Strapi-Event"]) > 0}]++
}

// TakeSignatures returns the counts since the last call, and starts again at 0.
func (a *API) TakeSignatures() alerting.SignatureWindow {
	a.signatures.mu.Lock()
	defer a.signatures.mu.Unlock()
	taken := a.signatures.window
	a.signatures.window = alerting.SignatureWindow{}
	return taken
}
