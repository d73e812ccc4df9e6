package caller

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Issuer is one whose tokens are believed.
type Issuer struct {
	// URL is the iss claim of its tokens, as it stands there to the letter.
	URL string
	// KeysURL is where its keys are, if its discovery document would name another host than its
	// own, or has none. Then nothing is discovered. Empty: as discovered.
	KeysURL string
	// CAFile has the authorities that its certificate may be from; read for each use. Empty means
	// those of the system.
	CAFile string
	// Addresses are the private ones that it may be at. All others are refused when they are
	// dialed.
	Addresses []netip.Prefix
}

// check refuses an issuer that cannot be meant: of each there is one spelling.
func (i Issuer) check() error {
	if err := checkURL(i.URL, i.Addresses); err != nil {
		return fmt.Errorf("issuer %q: %w", i.URL, err)
	}
	if i.KeysURL == "" {
		return nil
	}
	if err := checkURL(i.KeysURL, i.Addresses); err != nil {
		return fmt.Errorf("keys of issuer %q: %w", i.URL, err)
	}
	return nil
}

// configurationURL is that of OpenID Connect Discovery 1.0 section 4.
func (i Issuer) configurationURL() string {
	return strings.TrimSuffix(i.URL, "/") + "/.well-known/openid-configuration"
}

// checkKeysURL refuses a key set that an issuer's document puts elsewhere: whoever can have it
// say so could choose the keys that are believed, and whom we connect to.
func (i Issuer) checkKeysURL(keys string) error {
	if err := checkURL(keys, i.Addresses); err != nil {
		return fmt.Errorf("jwks_uri: %w", err)
	}
	own, err := url.Parse(i.URL)
	if err != nil {
		return err
	}
	its, err := url.Parse(keys)
	if err != nil {
		return err
	}
	if its.Scheme != own.Scheme || hostPort(its) != hostPort(own) {
		return fmt.Errorf("jwks_uri is on another host, %q; if that is meant, name the address of the keys", its.Host)
	}
	return nil
}

// checkURL takes https, a host name in ASCII, perhaps a port and a path, and nothing besides.
func checkURL(text string, named []netip.Prefix) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is no URL")
	case u.Opaque != "" || u.Host == "" || u.Hostname() == "":
		return errors.New("has no host")
	case u.User != nil:
		return errors.New("has a user name or a password in it")
	case strings.ContainsAny(text, "?#"):
		return errors.New("has a query or a fragment")
	case strings.ContainsAny(text, "%\\") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.") ||
		!printableASCII(text):
		return errors.New("has letters or a path that can be spelled in several ways")
	case u.Scheme+"://"+u.Host != text[:len(text)-len(u.Path)]:
		return errors.New("is not spelled as it would be parsed")
	}
	return checkHost(u, named)
}

func checkHost(u *url.URL, named []netip.Prefix) error {
	host := u.Hostname()
	address, err := netip.ParseAddr(host)
	literal := err == nil
	switch {
	case host != strings.ToLower(host):
		return errors.New("has a host in capitals")
	case strings.HasSuffix(host, "."):
		return errors.New("has a host with a dot at its end")
	case strings.HasSuffix(u.Host, ":") || u.Port() == "443" && u.Scheme == "https":
		return errors.New("names the port that it would have without")
	case literal && (address.Is4In6() || address.Zone() != ""):
		return errors.New("has an IP address that can be spelled in several ways")
	case literal:
		if err := checkAddress(address, named); err != nil {
			return err
		}
	case !hostName(host):
		return errors.New("has a host that is no name; one with letters beyond ASCII is written as xn--…")
	}
	if u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || literal && address.IsLoopback()) {
		return nil
	}
	return errors.New("is not https")
}

// hostName reports whether the host is a name of letters, digits, hyphens and dots. One whose
// last label begins with a digit is an IP address to some resolvers.
func hostName(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last[0] > '9' || last[0] < '0'
}

func printableASCII(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// hostPort is where a URL leads, for comparisons and for dialing.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
