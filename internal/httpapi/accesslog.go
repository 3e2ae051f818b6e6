package httpapi

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"dealbox/internal/text"
)

const (
	requestIDHeader = "X-Request-Id"
	// maxShownText bounds a stranger's text in the log and in an error, in bytes.
	maxShownText = 200
)

// observe gives every request an id, a deadline for its body and one line in the
// log. It answers a panic with 500.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		w := &recorder{ResponseWriter: rw}
		w.Header()[requestIDHeader] = []string{requestID(r)}
		if r.ContentLength != 0 {
			a.limitBody(w)
		}
		if a.stages.Readiness.IsStopping() {
			w.Header().Set("Connection", "close") // the client's next request goes elsewhere
		}
		defer func() {
			if p := recover(); p != nil {
				a.recovered(w, r, p)
			}
			took := time.Since(start)
			a.metrics.observe(r, w.status, took)
			a.logRequest(w, r, took)
		}()
		next.ServeHTTP(w, r)
	})
}

// requestID returns the caller's id if it is short printable ASCII, else a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get(requestIDHeader); validID(id) {
		return id
	}
	return rand.Text()
}

func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// limitBody bounds how long the body may take. A writer without deadlines
// (a test's recorder) is left alone.
func (a *API) limitBody(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.config.BodyTimeout))
}

// recovered answers 500 and logs the stack of the panic.
func (a *API) recovered(w *recorder, r *http.Request, p any) {
	a.logger.ErrorContext(r.Context(), "panic while answering a request",
		"request_id", w.Header().Get(requestIDHeader), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status == 0 {
		w.Header().Set("Connection", "close")
		a.fail(w, &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "internal error"})
		return
	}
	panic(http.ErrAbortHandler) // half an answer is out: cut the connection
}

// logRequest writes one line; of refused strangers one a minute. It never logs the query (somebody may have put a secret
// there by mistake), a header or a body.
func (a *API) logRequest(w *recorder, r *http.Request, took time.Duration) {
	ctx, level := r.Context(), logLevel(w.status, w.code)
	if !a.logger.Enabled(ctx, level) {
		return
	}
	client := clientIP(r, a.config.TrustedProxies)
	if w.refusedStranger() && !a.refusals.first(w.code, client, level) {
		if level = slog.LevelDebug; !a.logger.Enabled(ctx, level) {
			return
		}
	}
	attrs := []slog.Attr{
		slog.String("method", text.Line(r.Method, maxShownText)), slog.String("path", text.Line(r.URL.Path, maxShownText)), slog.Int("status", w.status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", client),
		slog.String("request_id", w.Header().Get(requestIDHeader)),
	}
	if w.code != "" {
		attrs = append(attrs, slog.String("code", w.code))
	}
	if w.actor != "" {
		attrs = append(attrs, slog.String("actor", w.actor))
	}
	if w.err != nil {
		attrs = append(attrs, slog.String("error", w.err.Error()))
	}
	a.logger.LogAttrs(ctx, level, "request", attrs...)
}

func logLevel(status int, code string) slog.Level {
	switch {
	case code == "starting" || code == "stopping":
		return slog.LevelDebug // logged once, when it began
	case status == http.StatusServiceUnavailable:
		return slog.LevelWarn
	case status >= 500:
		return slog.LevelError
	case status >= 400:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// recorder keeps what the access log needs to know about an answer.
type recorder struct {
	http.ResponseWriter
	status int
	code   string // of an error
	err    error  // behind a 5xx
	actor  string // who operates
}

// refusedStranger reports whether anybody could have had this answer, any number of times.
func (w *recorder) refusedStranger() bool {
	return w.actor == "" && (w.status >= 400 && w.status < 500 || w.code == errTooMuch.Code)
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
