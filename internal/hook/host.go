package hook

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// OnlyTo lets those requests through to next that are addressed (Host, RFC 9110 section 7.2) to an IP address, to
// localhost, or to one of the names; any other is answered 421. A web page can have its own name lead to this server
// (DNS rebinding), and its scripts could then read what is answered here without a secret; it cannot have a name of
// ours, nor an address. Names have no port, and their case does not matter.
func OnlyTo(names []string, next http.Handler) http.Handler {
	ours := []string{"localhost"}
	for _, name := range names {
		ours = append(ours, plainName(name))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		_, notIP := netip.ParseAddr(strings.Trim(name, "[]"))
		if name = plainName(name); notIP != nil && (name == "" || !slices.Contains(ours, name)) {
			http.Error(w, "this server is not asked by that name; use its address, or give it the name with --status-host",
				http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// plainName is a name as it is compared.
func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
