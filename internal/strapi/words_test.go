package strapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nobody who is not a programmer has to read a Go error, a path or a status alone.
func TestWords(t *testing.T) {
	t.Parallel()
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for want, err := range map[string]error{
		"Strapi answers with its error 500 (Internal Server Error)":                             &Error{Kind: Unavailable, Status: 500, Op: "GET /api/deals/x", Message: "Internal Server Error"},
		"Strapi, or a proxy before it, answers that it is not available (502 Bad Gateway)":      &Error{Kind: Unavailable, Status: 502},
		"Strapi, or a proxy before it, wants fewer requests (429)":                              &Error{Kind: Unavailable, Status: 429},
		"Strapi gives no complete answer within 10s":                                            &Error{Kind: Unreachable, Message: "no complete answer within 10s"},
		"Strapi is not running, or not at this address: the connection was refused":             &Error{Kind: Unreachable, err: dial(os.NewSyscallError("connect", syscall.ECONNREFUSED))},
		"the network does not know the name of Strapi's host, cms.example (DNS)":                &Error{Kind: Unreachable, err: dial(&net.DNSError{Name: "cms.example"})},
		"Strapi cannot be reached through the network: no route to host":                        &Error{Kind: Unreachable, Message: "no route to host", err: errors.New("no route to host")},
		"Strapi, or a proxy before it, closes the connection before its answer is complete":     &Error{Kind: Unreachable, Message: "EOF", err: fmt.Errorf("Get: %w", io.EOF)},
		"Strapi refuses the API token (401: Missing or invalid credentials)":                    &Error{Kind: Refused, Status: 401, Message: "Missing or invalid credentials; check the API token and what it may read"},
		"what answers at Strapi's address does not answer like Strapi 5: the answer is no JSON": &Error{Kind: Unreadable, Status: 200, Message: "the answer is no JSON"},
		"Strapi says that it does not have it (404)":                                            &Error{Kind: NotFound, Status: 404},
		"Strapi has no such route (404: Strapi has no such collection)":                         &Error{Kind: MissingRoute, Status: 404, Message: "Strapi has no such collection; check the content type's REST plural"},
		"Strapi rejects the request (400: Invalid key deal)":                                    &Error{Kind: Rejected, Status: 400, Message: "Invalid key deal."},
		"the request was not sent: the documentId is not an identifier":                         &Error{Kind: Rejected, Message: "not sent: the documentId is not an identifier"},
	} {
		require.Equal(t, want, Words(fmt.Errorf("sync of x: %w", err)))
	}
	require.Equal(t, "another error", Words(errors.New("another error")))
}
