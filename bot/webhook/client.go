package webhook

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientOf is the address that a request counts for: the peer's, or, when the peer is a
// trusted proxy, the right-most one in X-Forwarded-For that is not one. What stands left
// of it may be anybody's invention. An IPv6 address counts with its /64, which is what
// one customer of a provider has.
func clientOf(r *http.Request, proxies []netip.Prefix) netip.Addr {
	client := readAddress(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !trusted(client, proxies) {
			break
		}
		before := readAddress(strings.TrimSpace(hop))
		if !before.IsValid() {
			break
		}
		client = before
	}
	return network(client)
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// readAddress reads an address with or without a port, or gives the zero one.
func readAddress(text string) netip.Addr {
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone("")
}

// network is an IPv6 address without its last 64 bits; others are left as they are.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
