package httpapi

import (
	"encoding/json"
	"net/http"
)

// writeJSON renders an answer. Markup in names comes out escaped (\u003c), so
// that an answer opened as a page is inert.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	startJSON(w, status)
	_, _ = w.Write(append(text, '\n'))
	return nil
}

var (
	valueJSON    = []string{"application/json"}
	valueNoStore = []string{"no-store"}
	valueNoSniff = []string{"nosniff"}
)

// startJSON writes the head of a JSON answer. The values are shared slices:
// this is on the way of every webhook.
func startJSON(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Content-Type"] = valueJSON
	h["Cache-Control"] = valueNoStore
	h["X-Content-Type-Options"] = valueNoSniff
	w.WriteHeader(status)
}

// logCause puts an error into the log line of a request that is answered without it.
func logCause(w http.ResponseWriter, err error) {
	if rec, ok := w.(*recorder); ok {
		rec.err = err
	}
}
