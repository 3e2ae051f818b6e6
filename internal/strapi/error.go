package strapi

import (
	"errors"
	"fmt"
	"time"
)

// ErrorKind says what went wrong with a request, as far as a caller decides by it.
type ErrorKind string

// The kinds of errors. Only NotFound and Rejected speak about the document;
// all others speak about Strapi or the way to it.
const (
	// Unreachable: no complete answer (network, TLS, DNS, timeout).
	Unreachable ErrorKind = "unreachable"
	// Unavailable: Strapi or a proxy says to come back later (5xx, 429, 408).
	Unavailable ErrorKind = "unavailable"
	// Refused: the token is not accepted or not allowed to read (401, 403).
	Refused ErrorKind = "refused"
	// Unreadable: success, but not the JSON that Strapi 5 answers.
	Unreadable ErrorKind = "unreadable"
	// NotFound: Strapi itself says that it has no such document. A missing
	// route gives the same answer: ask Collection before you believe it.
	NotFound ErrorKind = "not_found"
	// MissingRoute: any other 404 or a 405; the URL or the content type is wrong.
	MissingRoute ErrorKind = "missing_route"
	// Rejected: any other 4xx, or a redirect, which is never followed.
	Rejected ErrorKind = "rejected"
)

// maxMessage bounds what an error repeats of a foreign text, in bytes.
const maxMessage = 300

// Error is a request that did not give what was asked for. Its text never
// holds the token.
type Error struct {
	Kind ErrorKind
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Op is the method and the path.
	Op string
	// Message says what was wrong and, where there is something to do, what.
	Message string
	// Wait is the Retry-After of the answer, at most an hour; 0 when it had none.
	Wait time.Duration
	err  error
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("strapi: %s: %s: %s", e.Op, e.Kind, e.Message)
	}
	return fmt.Sprintf("strapi: %s: %s (status %d): %s", e.Op, e.Kind, e.Status, e.Message)
}

// Unwrap gives the network error, if there was one.
func (e *Error) Unwrap() error { return e.err }

// Transient is true when the same request may succeed a little later.
func (e *Error) Transient() bool { return e.Kind == Unreachable || e.Kind == Unavailable }

// RetryAfter is how long Strapi asks to wait, 0 when it does not say.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// KindOf is the kind of the *Error in err's tree, "" when there is none.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}
