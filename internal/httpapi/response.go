package httpapi

import (
	"encoding/json"
	"net/http"
)

// writeJSON writes an answer. encoding/json escapes markup in names (\u003c), so an
// answer that a browser opens as a page does nothing.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = valueJSON
	h["Cache-Control"] = valueNoStore
	h["X-Content-Type-Options"] = valueNoSniff
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
	return nil
}

// Shared header values: every webhook needs them.
var (
	valueJSON    = []string{"application/json"}
	valueNoStore = []string{"no-store"}
	valueNoSniff = []string{"nosniff"}
)

// logCause adds an error to the request's log line although the answer is no error.
func logCause(w http.ResponseWriter, err error) {
	if rec, ok := w.(*recorder); ok {
		rec.err = err
	}
}
