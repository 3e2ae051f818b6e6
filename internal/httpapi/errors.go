package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/health"
	"dealbox/internal/inbox"
	"dealbox/internal/paging"
	"dealbox/internal/pgerr"
	"dealbox/internal/webhooksig"
)

// Error is an answer that is not a success. Everything in it is shown to the
// caller, except the cause.
type Error struct {
	Status  int
	Code    string // stable, snake_case: for programs
	Message string // for people
	Details map[string]any
	cause   error // for the log
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// fail answers a request with an error. The cause goes to the access log.
func (a *API) fail(w http.ResponseWriter, err error) {
	e := asError(err)
	if rec, ok := w.(*recorder); ok {
		rec.code = e.Code
		if e.Status >= http.StatusInternalServerError {
			rec.err = err
		}
		if rec.status != 0 {
			return // the answer has begun; nothing can be added to it
		}
	}
	h := w.Header()
	switch e.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		// An attacker wants the server to read the remaining body.
		h.Set("Connection", "close")
	}
	var body errorBody
	body.Error.Status, body.Error.Code, body.Error.Message = e.Status, e.Code, e.Message
	body.Error.Details = e.Details
	if body.Error.Details == nil {
		body.Error.Details = map[string]any{}
	}
	body.Error.RequestID = h.Get(requestIDHeader)
	body.Error.Timestamp = time.Now().UTC().Truncate(time.Millisecond)
	_ = writeJSON(w, e.Status, body)
}

type errorBody struct {
	Error struct {
		Status    int            `json:"status"`
		Code      string         `json:"code"`
		Message   string         `json:"message"`
		Details   map[string]any `json:"details"`
		RequestID string         `json:"request_id"`
		Timestamp time.Time      `json:"timestamp"`
	} `json:"error"`
}

// asError returns the answer to an error. No other place maps errors to statuses.
func asError(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var field *paging.FieldError
	if errors.As(err, &field) {
		return invalidParameter(field.Field, field.Problem)
	}
	if errors.Is(err, inbox.ErrNoEvent) {
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: inbox.ErrNoEvent.Error()}
	}
	if errors.Is(err, alerting.ErrNoAlert) || errors.Is(err, alerting.ErrNoSilence) {
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: err.Error()}
	}
	if errors.Is(err, alerting.ErrResolved) {
		return &Error{Status: http.StatusConflict, Code: "already_resolved", Message: err.Error()}
	}
	var notReady *health.NotReadyError
	if errors.As(err, &notReady) {
		return &Error{Status: http.StatusServiceUnavailable, Code: notReady.Code, Message: notReady.Message, cause: notReady.Err}
	}
	// Failure policy: the answer to a delivery that is not authentic has no details, so
	// that a forger learns nothing about what would pass.
	var signature *webhooksig.SignatureError
	if errors.As(err, &signature) {
		return &Error{Status: http.StatusUnauthorized, Code: signature.Code, Message: "the delivery is not authentic", cause: err}
	}
	if pgerr.IsUnavailable(err) {
		return &Error{
			Status: http.StatusServiceUnavailable, Code: "database_unavailable",
			Message: "the database does not answer; try again", cause: err,
		}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "internal error", cause: err}
}

// invalidParameter returns a 400 that names the parameter and why it cannot be used.
func invalidParameter(field, why string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: "invalid_parameter", Message: field + ": " + why,
		Details: map[string]any{"field": field},
	}
}

func notFound(http.ResponseWriter, *http.Request) error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing at this path"}
}

// notOfWorker answers for all that a worker does not serve.
func notOfWorker(http.ResponseWriter, *http.Request) error {
	return &Error{
		Status: http.StatusNotFound, Code: "not_found",
		Message: "this process runs with --role worker: it serves health, readiness and metrics alone; " +
			"webhooks, the API and the dashboard are at a process with --role api or all",
	}
}
