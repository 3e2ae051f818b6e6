// Package httpclient makes the clients for Dealbox's own requests.
package httpclient

import "net/http"

// New returns a client that follows no redirect: the caller gets the 3xx as the
// answer. A redirect could lead a token to another host, or Dealbox to a private
// address. A nil transport means http.DefaultTransport. The client has no timeout:
// the request's context ends it.
func New(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
