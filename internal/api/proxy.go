package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode"
)

// ProxyError is a proxy that was reached and does not lead on (RFC 9110 section
// 9.3.6), or a setting that names one so that it cannot be read.
type ProxyError struct {
	Proxy  string // host and port, without a login; "" where the setting cannot be read
	Status int
	// Setting is a variable, or a key of git's configuration, that cannot be read. Its value
	// is not told: there may be a password in it.
	Setting string
}

func (e *ProxyError) Error() string {
	if e.Setting != "" {
		return e.Setting + " cannot be read as the address of a proxy"
	}
	return fmt.Sprintf("the proxy %s answered %d %s", e.Proxy, e.Status, http.StatusText(e.Status))
}

// ledOn reports whether a proxy led on to the host it was asked for.
func ledOn(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &ProxyError{Proxy: proxy.Host, Status: answer.StatusCode}
	}
	return nil
}

// Proxy is [http.ProxyFromEnvironment], which goes without a proxy, or to another host,
// where the variable cannot be read: that is an error here.
func Proxy(req *http.Request) (*url.URL, error) {
	variables := []string{"HTTPS_PROXY", "https_proxy"}
	if req.URL.Scheme == "http" {
		variables = []string{"HTTP_PROXY", "http_proxy"}
	}
	if !IsLoopback(req.URL.Hostname()) { // net/http asks no proxy for those
		if err := unreadable(req.URL, variables, os.Getenv); err != nil {
			return nil, err
		}
	}
	return http.ProxyFromEnvironment(req)
}

// CheckGitsProxy returns a [*ProxyError] where a variable cannot be read by which git, or
// git-lfs, would look for a proxy to target
// (https://curl.se/libcurl/c/libcurl-env.html). get returns the value of a variable.
func CheckGitsProxy(target *url.URL, get func(string) string) error {
	variables := []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
	if target.Scheme == "http" {
		variables = []string{"http_proxy", "all_proxy", "ALL_PROXY"}
	}
	return unreadable(target, variables, get)
}

// unreadable is the error of the first of the variables that is set, if target is asked
// through it.
func unreadable(target *url.URL, variables []string, get func(string) string) error {
	at := slices.IndexFunc(variables, func(name string) bool { return get(name) != "" })
	if at < 0 || ReadableProxy(get(variables[at])) || withoutProxy(target.Hostname(), get) {
		return nil
	}
	return &ProxyError{Setting: variables[at]}
}

// ReadableProxy reports whether the address of a proxy is read alike by everybody: some
// take what stands behind a raw #, / or ? of a password for a fragment, a path or a query,
// and a part of the password for the host.
func ReadableProxy(address string) bool {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "http", address
	}
	switch strings.ToLower(scheme) {
	case "http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h":
	default:
		return false
	}
	rest = strings.TrimSuffix(rest, "/")
	strange := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("/?#\\", r)
	}
	if strings.ContainsFunc(rest, strange) {
		return false
	}
	u, err := url.Parse("http://" + rest)
	return err == nil && u.Hostname() != ""
}

// withoutProxy reports whether no_proxy says that a host is asked without one. Where it
// does not say so in one of its usual forms, a setting that cannot be read is an error.
func withoutProxy(host string, get func(string) string) bool {
	list := get("no_proxy")
	if list == "" {
		list = get("NO_PROXY")
	}
	host = strings.ToLower(host)
	for entry := range strings.FieldsFuncSeq(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' }) {
		if name, _, err := net.SplitHostPort(entry); err == nil {
			entry = name
		}
		if _, block, err := net.ParseCIDR(entry); err == nil && block.Contains(net.ParseIP(host)) {
			return true
		}
		entry = strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")
		if entry == "" || entry == host || strings.HasSuffix(host, "."+entry) {
			return true
		}
	}
	return false
}
