package fakestrapi

import (
	"bytes"
	"net/http"
	"strconv"
)

// answer is what goes back.
type answer struct {
	status int
	body   []byte
	header http.Header
	abort  bool // close the connection, in the middle of the body if there is one
	cut    int  // with abort: how much of the body goes out
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.abort && a.body == nil {
		panic(http.ErrAbortHandler)
	}
	if a.body != nil && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	if a.body != nil {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if a.abort {
		_, _ = w.Write(a.body[:a.cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body) // the client is gone: nothing to do
}

func (e *Error) answer() answer {
	if e.Name == "" { // the router's own, which is no JSON
		return answer{status: e.Status, body: []byte(e.Message), header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}}
	}
	var b bytes.Buffer
	b.WriteString(`{"data":null,"error":{"status":` + strconv.Itoa(e.Status))
	writeKey(&b, "name")
	b.Write(encodeString(e.Name))
	writeKey(&b, "message")
	b.Write(encodeString(e.Message))
	if e.Status < http.StatusInternalServerError {
		details, err := encode(e.Details)
		if err != nil || e.Details == nil {
			details = []byte("{}")
		}
		writeKey(&b, "details")
		b.Write(details)
	}
	b.WriteString("}}")
	return answer{status: e.Status, body: b.Bytes()}
}
