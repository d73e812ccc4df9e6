package credential

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/secret"
)

var (
	// ErrNoOrigin says that a request lacks the protocol or the host.
	ErrNoOrigin = errors.New("credential: no protocol or no host")
	// ErrNotHTTPS says that a request is for a transport that does not keep a
	// password secret, or that is not HTTP.
	ErrNotHTTPS = errors.New("credential: neither https nor http to this machine")
)

// CheckOrigin returns nil if a password may travel to where c points: over
// https, or over http to this machine itself (localhost, 127.0.0.0/8, ::1).
// Otherwise it returns [ErrNoOrigin] or [ErrNotHTTPS]. Whether the host is the
// right one remains for the caller to decide.
func (c *Credential) CheckOrigin() error {
	switch {
	case c.Protocol == "" || c.Host == "":
		return ErrNoOrigin
	case c.Protocol == "https", c.Protocol == "http" && isLoopback(c.Host):
		return nil
	}
	return ErrNotHTTPS
}

// isLoopback does without net/netip, which every helper would start with: its tables
// are made when a program starts.
func isLoopback(host string) bool {
	name, port, ok := strings.Cut(host, ":")
	if rest, bracketed := strings.CutPrefix(host, "[::1]"); bracketed {
		name, port, ok = strings.Cut("localhost"+rest, ":")
	}
	if _, err := strconv.ParseUint(port, 10, 16); ok && err != nil {
		return false
	}
	return name == "localhost" || isLoopbackIPv4(name)
}

// isLoopbackIPv4 reports whether text is an address of 127.0.0.0/8, as four decimal
// numbers without leading zeros.
func isLoopbackIPv4(text string) bool {
	numbers := strings.Split(text, ".")
	for _, number := range numbers {
		if n, err := strconv.ParseUint(number, 10, 8); err != nil || number != strconv.FormatUint(n, 10) {
			return false
		}
	}
	return len(numbers) == 4 && numbers[0] == "127"
}

// fromURL takes a URL apart as git's credential_from_url does, which is not
// how RFC 3986 or net/url do it: the first "@" ends the user information, a
// component is decoded only from its first colon on, if it has one, and "%00"
// stays as it is.
func fromURL(url string) (Credential, error) {
	protocol, rest, ok := strings.Cut(url, "://")
	if !ok || protocol == "" {
		return Credential{}, errors.New("no scheme")
	}
	c := Credential{Protocol: protocol}

	host, path := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host, path = rest[:end], rest[end:]
	}
	if user, after, ok := strings.Cut(host, "@"); ok {
		user, password, _ := strings.Cut(user, ":")
		c.Username, c.Password = decodePercent(user), secret.New(decodePercent(password))
		host = after
	}
	c.Host = decodePercent(host)
	if path = decodePercent(strings.TrimLeft(path, "/")); path != "" {
		// git never trims the path's first byte away.
		c.Path = path[:1] + strings.TrimRight(path[1:], "/")
	}

	for _, part := range []string{c.Protocol, c.Host, c.Path, c.Username, c.Password.Reveal()} {
		if strings.ContainsAny(part, "\n\r\x00") {
			return Credential{}, errors.New("newline or carriage return in a component")
		}
	}
	return c, nil
}

// decodePercent is git's url_decode.
func decodePercent(s string) string {
	start := max(0, strings.IndexByte(s, ':'))
	var out strings.Builder
	out.WriteString(s[:start])
	for s = s[start:]; s != ""; {
		if len(s) >= 3 && s[0] == '%' {
			if b, err := hex.DecodeString(s[1:3]); err == nil && b[0] != 0 {
				out.WriteByte(b[0])
				s = s[3:]
				continue
			}
		}
		out.WriteByte(s[0])
		s = s[1:]
	}
	return out.String()
}
