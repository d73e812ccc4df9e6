package caller

import (
	"net/netip"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Case 28.
func TestAddressesThatAreNotOnTheInternetAreRefusedUnlessNamed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"127.0.0.1", "127.255.0.1", "::1", "0.0.0.0", "0.1.2.3", "::",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fd00:ec2::254", "fec0::1",
		"100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.192",
		"fe80::1", "fe80::1%eth0",
		"224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1",
	} {
		address := netip.MustParseAddr(text)
		testkit.Fails(t, checkAddress(address, nil), "%s", text)
		plain := address.Unmap().WithZone("")
		testkit.OK(t, checkAddress(address, []netip.Prefix{netip.PrefixFrom(plain, plain.BitLen())}), "%s, named", text)
		testkit.Fails(t, checkAddress(address, []netip.Prefix{netip.MustParsePrefix("192.168.77.0/24")}), "%s", text)
	}
	for _, text := range []string{
		"8.8.8.8", "140.82.121.4", "172.32.0.1", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1",
	} {
		testkit.OK(t, checkAddress(netip.MustParseAddr(text), nil), "%s", text)
	}
}
