package httpapi

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientIP(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct{ peer, forwarded, real, want string }{
		"Direct":              {"203.0.113.9:1", "", "", "203.0.113.9"},
		"UntrustedPeerLies":   {"203.0.113.9:1", "198.51.100.1", "", "203.0.113.9"},
		"OneProxy":            {"10.0.0.1:1", "198.51.100.1", "", "198.51.100.1"},
		"ClientLies":          {"10.0.0.1:1", "1.1.1.1, 198.51.100.1", "", "198.51.100.1"},
		"TwoProxies":          {"10.0.0.1:1", "198.51.100.1, 10.0.0.2", "", "198.51.100.1"},
		"OnlyProxies":         {"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "", "10.0.0.3"},
		"Nonsense":            {"10.0.0.1:1", "198.51.100.1, unknown", "", "10.0.0.1"},
		"RealIP":              {"10.0.0.1:1", "", "198.51.100.1", "198.51.100.1"},
		"V6":                  {"[fd00::1]:1", "2001:db8::1", "", "2001:db8::1"},
		"V4InV6":              {"[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1", "", "198.51.100.1"},
		"TrustedWithoutChain": {"10.0.0.1:1", "", "", "10.0.0.1"},
		"UnixSocket":          {"@", "198.51.100.1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
			if c.real != "" {
				r.Header.Set("X-Real-Ip", c.real)
			}
			require.Equal(t, c.want, clientIP(r, trusted))
		})
	}
}
