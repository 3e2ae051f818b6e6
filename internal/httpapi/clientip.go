package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP returns the client's address for the log: the peer, or, when the peer is a
// trusted proxy, the last address in X-Forwarded-For that is not a trusted proxy.
// Without that header X-Real-IP counts. A value that is no address ends the search.
func clientIP(r *http.Request, trusted []netip.Prefix) string {
	client := peer(r)
	if !isTrusted(client, trusted) {
		return addrText(client)
	}
	for _, hop := range slices.Backward(hops(r.Header)) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		client = addr.Unmap()
		if !isTrusted(client, trusted) {
			break
		}
	}
	return addrText(client)
}

func hops(h http.Header) []string {
	if chain := h.Values("X-Forwarded-For"); len(chain) > 0 {
		return strings.Split(strings.Join(chain, ","), ",")
	}
	return h.Values("X-Real-Ip")
}

// peer returns the address at the other end of the connection. It is invalid for a
// Unix socket.
func peer(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func addrText(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}
