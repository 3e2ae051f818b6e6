package strapi

import (
	"errors"
	"fmt"
	"time"
)

// ErrorKind is what went wrong with a request, as far as a caller decides by it.
type ErrorKind string

// The kinds of errors. Only NotFound and Rejected speak about the document;
// all others speak about Strapi or the way to it.
const (
	// Unreachable means no complete answer (network, TLS, DNS, timeout).
	Unreachable ErrorKind = "unreachable"
	// Unavailable means that Strapi or a proxy wants the request later (5xx, 429, 408).
	Unavailable ErrorKind = "unavailable"
	// Refused means that Strapi does not accept the token, or that it may not read: a
	// 401 or 403 in Strapi's own form.
	Refused ErrorKind = "refused"
	// Blocked means that something in front of Strapi refused the request, such as a
	// firewall, a proxy's login or a CDN: a redirect, a 407, a 451, or a 401 or 403 that
	// is not in Strapi's form.
	Blocked ErrorKind = "blocked"
	// Unreadable means a 2xx without the JSON that Strapi 5 writes.
	Unreadable ErrorKind = "unreadable"
	// NotFound means that Strapi itself has no such document (404). It answers the
	// same for a missing route: call CheckList before you believe it.
	NotFound ErrorKind = "not_found"
	// MissingRoute means any other 404 or a 405: the URL or the content type is wrong.
	MissingRoute ErrorKind = "missing_route"
	// Rejected means any other 4xx.
	Rejected ErrorKind = "rejected"
)

// ErrTooLarge is in the tree of the Unreadable error of an answer that is larger than
// Config.MaxBytes. It speaks about what was requested, and not about Strapi.
var ErrTooLarge = errors.New("the answer is too large")

// maxMessage bounds what an error quotes of a server's text, in bytes.
const maxMessage = 300

// Error is a request that failed. Its text never holds the token.
type Error struct {
	Kind ErrorKind
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Op is the method and the path.
	Op string
	// Message is what was wrong and, where the operator can mend it, how.
	Message string
	// Wait is the Retry-After of an Unavailable answer, at most an hour; 0 when it
	// had none.
	Wait time.Duration
	// Headers of an answer that is not in Strapi's form say who gave it: server, via,
	// cf-ray, content-type and, of a redirect, the scheme and host of location. They are
	// cleaned and bounded; nil where Strapi answered.
	Headers map[string]string
	// Key is the attribute that a Rejected request names and Strapi does not show; ""
	// when it was rejected for another reason. Of a path it is one of the names.
	Key string
	err error
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("strapi: %s: %s: %s", e.Op, e.Kind, e.Message)
	}
	return fmt.Sprintf("strapi: %s: %s (status %d): %s", e.Op, e.Kind, e.Status, e.Message)
}

// Unwrap returns the network error, nil when there was none.
func (e *Error) Unwrap() error { return e.err }

// Transient reports whether the same request may succeed a little later.
func (e *Error) Transient() bool { return e.Kind == Unreachable || e.Kind == Unavailable }

// RetryAfter returns Wait; retry.Do waits at least that long.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// KeyOf returns the Key of the *Error in err's tree, "" when there is none.
func KeyOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Key
	}
	return ""
}

// KindOf returns the kind of the *Error in err's tree, "" when there is none.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}
