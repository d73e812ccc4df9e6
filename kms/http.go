package kms

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// httpClient is the HTTP client of a service. It follows no redirect, since a request
// carries credentials: the answer is then the redirect itself. transport may be nil.
func httpClient(transport *http.Transport) *http.Client {
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, r *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return failure("unavailable", "the proxy %s does not connect to %s: %d", proxy.Host, r.Host, answer.StatusCode)
		}
		return nil
	}
	return &http.Client{
		Transport:     plainOnlyHere{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       2 * time.Minute, // longer than anybody waits; the context ends earlier
	}
}

// redirected tells of an answer that is a redirect.
func redirected(r *http.Response) error {
	to := "elsewhere"
	if location, err := r.Location(); err == nil {
		to = "to " + location.Host
	}
	return failure("failed", "%s answered with a redirect %s, which is not followed, since the request has credentials: name the right address", r.Request.URL.Host, to)
}

// plainOnlyHere refuses to speak http: with other machines, and to read without end.
type plainOnlyHere struct{ next http.RoundTripper }

func (p plainOnlyHere) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkPlain(r.URL); err != nil {
		return nil, err
	}
	answer, err := p.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, 1<<20)
	}
	return answer, err
}

// checkPlain refuses an address that is not https, but for this machine's own, and the
// link-local ones where clouds tell their machines who they are.
func checkPlain(u *url.URL) error {
	if strings.EqualFold(u.Scheme, "https") {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	here := strings.EqualFold(u.Hostname(), "localhost") || ip.IsLoopback() || ip.IsLinkLocalUnicast()
	if !strings.EqualFold(u.Scheme, "http") || !here {
		return failure("invalid-uri", "the service's address %s is not https", u.Host)
	}
	return nil
}
