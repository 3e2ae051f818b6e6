package strapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Words returns what went wrong in words for people who do not know HTTP: those of
// the *Error in err's tree, else err's own text. They name no path: whoever shows
// them says what the request was about.
func Words(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.InWords()
	}
	return err.Error()
}

// InWords returns what went wrong in words for people, and whose side it is on.
func (e *Error) InWords() string {
	switch e.Kind {
	case Unreachable:
		return e.unreachableInWords()
	case Unavailable:
		return e.unavailableInWords()
	case Refused:
		return fmt.Sprintf("Strapi refuses the API token (%d: %s)", e.Status, e.said())
	case Blocked:
		return fmt.Sprintf("it answers %d, %s%s", e.Status, e.said(), words(e.Headers))
	case Unreadable:
		return "what answers at Strapi's address does not answer like Strapi 5: " + e.said()
	case NotFound:
		return "Strapi says that it does not have it (404)"
	case MissingRoute:
		return fmt.Sprintf("Strapi has no such route (%d: %s)", e.Status, e.said())
	case Rejected:
		if e.Status == 0 {
			return "the request was " + e.said()
		}
		return fmt.Sprintf("Strapi rejects the request (%d: %s)", e.Status, e.said())
	}
	return e.said()
}

// said returns the message without the advice behind it and without a period.
func (e *Error) said() string {
	said, _, _ := strings.Cut(e.Message, "; ")
	return strings.TrimRight(said, ".")
}

func (e *Error) unreachableInWords() string {
	if lookup, ok := errors.AsType[*net.DNSError](e.err); ok {
		return "the network does not know the name of Strapi's host, " + lookup.Name + " (DNS)"
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](e.err); ok {
		return "the certificate at Strapi's address is not valid: " + certificate.Err.Error()
	}
	switch {
	case e.err == nil:
		return "Strapi gives " + e.said() // no complete answer within 10s
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "Strapi is not running, or not at this address: the connection was refused"
	case errors.Is(e.err, io.EOF), errors.Is(e.err, io.ErrUnexpectedEOF), errors.Is(e.err, syscall.ECONNRESET), errors.Is(e.err, syscall.EPIPE):
		return "Strapi, or a proxy before it, closes the connection before its answer is complete"
	}
	return "Strapi cannot be reached through the network: " + e.said()
}

func (e *Error) unavailableInWords() string {
	name := http.StatusText(e.Status)
	switch e.Status {
	case http.StatusTooManyRequests:
		return "Strapi, or a proxy before it, wants fewer requests (429)"
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Sprintf("Strapi, or a proxy before it, answers that it is not available (%d %s)", e.Status, name)
	}
	return fmt.Sprintf("Strapi answers with its error %d (%s)", e.Status, name)
}
