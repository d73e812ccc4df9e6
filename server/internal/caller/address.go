package caller

import (
	"fmt"
	"net/netip"
	"slices"
)

// reserved are the networks that no issuer on the internet is in, beside what [netip.Addr]
// tells by itself. https://www.iana.org/assignments/iana-ipv4-special-registry
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT, and the metadata service of Alibaba
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's own, beside that in 169.254/16
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),     // an IPv4 address in the form of RFC 4291 section 2.5.5.1
	netip.MustParsePrefix("2001::/32"), // Teredo: an IPv4 address is in it, hidden
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("fec0::/10"),
}

// Networks that have an IPv4 address in them: it counts.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")   // in the last four bytes, RFC 6052
	localNAT  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour = netip.MustParsePrefix("2002::/16")      // in bytes 2 to 5, RFC 3056
)

// checkAddress refuses what is not on the internet, unless it is named. It is asked with the
// address that is dialed, so that no name can lead elsewhere between a check and its use.
func checkAddress(address netip.Addr, named []netip.Prefix) error {
	plain := address.Unmap().WithZone("")
	if slices.ContainsFunc(named, func(p netip.Prefix) bool { return p.Contains(plain) }) {
		return nil
	}
	if !public(plain) {
		return fmt.Errorf("%s is no address on the internet, and not among those that are named", plain)
	}
	return nil
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || localNAT.Contains(a) ||
		slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return false
	}
	bytes := a.As16()
	switch {
	case nat64.Contains(a):
		return public(netip.AddrFrom4([4]byte(bytes[12:16])))
	case sixToFour.Contains(a):
		return public(netip.AddrFrom4([4]byte(bytes[2:6])))
	}
	return true
}
