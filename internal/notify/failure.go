package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// SendError is why a channel could not send, in words for people. Channels make
// their errors of it so that no secret reaches a table or a log: it wraps nothing,
// because an error of net/http holds the whole URL.
type SendError struct {
	Text string
	// Do is what to do about it, a sentence without its period; "" when Text says it.
	Do string
	// Passing: it ends by itself, as greylisting does, so nothing has to be corrected.
	Passing bool
	// RetryAfter is how long the receiver wants to be left alone; 0 when it did not say.
	RetryAfter time.Duration
}

func (e *SendError) Error() string {
	if e.Do == "" {
		return e.Text
	}
	return e.Text + ". " + e.Do
}

// Ended returns why ctx ended, and nil while it has not. A connection can report
// the deadline a moment before ctx does; Ended waits for that moment.
func Ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return context.Cause(ctx)
}

// NetworkFailure describes a connection that failed, and reports whether err is
// about one. It quotes only errors that hold addresses at most: others may repeat
// what the other side sent, which can be a secret that it echoes.
func NetworkFailure(err error) (string, bool) {
	var (
		network *net.OpError
		lookup  *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &network):
		return network.Error(), true
	case errors.As(err, &lookup):
		return lookup.Error(), true
	case errors.As(err, &cert):
		return certificateFailure(cert.Err), true
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS on that port; should the URL begin with http:// or smtp:// ?", true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "the connection was closed before an answer came", true
	}
	return "", false
}

// certificateFailure says why a certificate is not trusted, and whose it is to mend.
func certificateFailure(err error) string {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return "its certificate is for another name (" + strings.TrimPrefix(name.Error(), "x509: ") + "); use the name in the certificate, or give the server one for this name"
	case errors.As(err, &unknown):
		return "its certificate is signed by nobody whom this machine trusts; install the CA's certificate here, or give the server another certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or this machine's clock is wrong"
	}
	return "its certificate is not valid: " + err.Error()
}
