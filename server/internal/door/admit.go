package door

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// admit keeps out what cannot be a caller, before anything of it is read, and returns the
// address of who is one.
func (d *Door) admit(r *http.Request) (netip.Addr, *problem) {
	// A browser says on whose behalf it asks. No page has a business here, on our own name
	// neither: there are none. Without CORS headers in any answer, a preflight fails as well.
	for name := range r.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return netip.Addr{}, fromBrowser
		}
	}
	local := r.Context().Value(http.LocalAddrContextKey)
	if _, ok := local.(*net.UnixAddr); ok {
		return netip.Addr{}, nil // who may connect is the socket's mode to say; it has no name
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !d.names[strings.ToLower(strings.Trim(host, "[]"))] {
		return netip.Addr{}, wrongHost
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, wrongHost
	}
	address := remote.Addr().Unmap().WithZone("")
	if len(d.config.Proxies) == 0 {
		return address, nil
	}
	if !d.proxy(address) {
		return netip.Addr{}, notFromProxy
	}
	return d.forwardedFor(r, address)
}

func (d *Door) proxy(address netip.Addr) bool {
	return slices.ContainsFunc(d.config.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

// forwardedFor is who a proxy asks for: reading from the end, the first address that is no
// proxy's. What stands before it may be the caller's invention.
func (d *Door) forwardedFor(r *http.Request, proxy netip.Addr) (netip.Addr, *problem) {
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		address, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return netip.Addr{}, notFromProxy
		}
		if address = address.Unmap().WithZone(""); !d.proxy(address) {
			return address, nil
		}
	}
	return proxy, nil
}
