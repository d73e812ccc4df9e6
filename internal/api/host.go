package api

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Host is one GitHub: github.com, an enterprise with data residency
// (NAME.ghe.com), or a GitHub Enterprise Server.
type Host struct {
	// Name is the host, with its port if it has one, in lower case: the host of
	// every repository URL.
	Name string
	// Origin is scheme and Name, without a slash at the end: where git and the
	// browser go.
	Origin string
	// API is the REST root, without a slash at the end.
	API string
}

// ParseHost returns the [Host] of a name as people write it: a bare host, or a
// URL whose path is empty. An empty name is github.com. An empty apiURL is
// derived from the name as GitHub documents it: api.github.com for github.com,
// api.NAME.ghe.com for NAME.ghe.com, and HOST/api/v3 for GitHub Enterprise Server
// (https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api).
//
// http:// is refused but for a loopback host, since a JWT and a token would
// travel in the open.
func ParseHost(name, apiURL string) (Host, error) {
	if name == "" {
		name = "github.com"
	}
	origin, err := parseBase("host", name)
	if err != nil {
		return Host{}, err
	}
	if origin.Path != "" {
		return Host{}, fmt.Errorf("host %q has a path: only the host is wanted, such as github.com", name)
	}
	// What a person copies from the address bar or from a REST example.
	switch {
	case origin.Host == "www.github.com", origin.Host == "api.github.com":
		origin.Host = "github.com"
	case strings.HasPrefix(origin.Host, "api.") && strings.HasSuffix(origin.Host, ".ghe.com"):
		origin.Host = strings.TrimPrefix(origin.Host, "api.")
	}
	h := Host{Name: origin.Host, Origin: origin.Scheme + "://" + origin.Host}
	switch {
	case apiURL != "":
		base, err := parseBase("API URL", apiURL)
		if err != nil {
			return Host{}, err
		}
		h.API = base.String()
	case origin.Host == "github.com":
		h.API = "https://api.github.com"
	case strings.HasSuffix(origin.Host, ".ghe.com"):
		h.API = "https://api." + origin.Host
	default:
		h.API = h.Origin + "/api/v3"
	}
	return h, nil
}

// Is reports whether a name is that of the host, or with anyPort, whether it is but for the port.
func (h Host) Is(name string, anyPort bool) bool {
	if u, err := url.Parse(h.Origin); err == nil && anyPort && u.Port() != "" {
		return name == h.Name || name == strings.TrimSuffix(h.Name, ":"+u.Port())
	}
	return name == h.Name
}

func parseBase(what, text string) (*url.URL, error) {
	full := strings.TrimSpace(text)
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	if err != nil {
		// The text may hold a password: it is not repeated.
		return nil, fmt.Errorf("%s is not a URL", what)
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%s has a user name or password in it: leave that out", what)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("%s %q has a query: leave that out", what, u.Host)
	case !validHostname(u.Hostname()):
		return nil, fmt.Errorf("%s %q is not a host name", what, text)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	switch u.Scheme {
	case "https":
		u.Host = strings.TrimSuffix(u.Host, ":443")
	case "http":
		if !IsLoopback(u.Hostname()) {
			return nil, fmt.Errorf("%s %q is http://: a token would travel unencrypted; use https://", what, u.Host)
		}
		u.Host = strings.TrimSuffix(u.Host, ":80")
	default:
		return nil, fmt.Errorf("%s has the scheme %q; use https://", what, u.Scheme)
	}
	return u, nil
}

// validHostname allows what DNS, an IP literal and a GHES need, in ASCII: a
// look-alike in another script is refused rather than shown.
func validHostname(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// IsLoopback reports whether a host name, without a port, never leaves this
// machine (RFC 6761 section 6.3 for localhost).
func IsLoopback(hostname string) bool {
	if strings.EqualFold(hostname, "localhost") {
		return true
	}
	ip := net.ParseIP(hostname)
	return ip != nil && ip.IsLoopback()
}
