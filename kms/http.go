package kms

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

// strictTransport is how a service is spoken to: every request and answer goes through it.
type strictTransport struct {
	secrets *scrub.Scrubber // learns the credentials that requests carry

	mu   sync.Mutex
	last error // of the last request that had no answer
}

// client is an HTTP client over it. It follows no redirect, since a request carries
// credentials: the answer is then the redirect itself. transport may be nil.
func (w *strictTransport) client(transport *http.Transport) *http.Client {
	if transport == nil {
		transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	transport.MaxResponseHeaderBytes = 64 << 10
	api.Quiet(transport)
	transport.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, r *http.Request,
		answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return failure("unavailable", "the proxy %s does not connect to %s: %d", proxy.Host, r.Host, answer.StatusCode)
		}
		return nil
	}
	return &http.Client{
		Transport:     roundTrips{w, transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       2 * time.Minute, // longer than anybody waits; the context ends earlier
	}
}

// failed is the error of the last request, if that had no answer. Some libraries do
// not tell.
func (w *strictTransport) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// roundTrips is a transport that refuses to speak http: with other machines, and to
// read without end.
type roundTrips struct {
	*strictTransport
	next http.RoundTripper
}

func (t roundTrips) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkPlain(r.URL); err != nil {
		return nil, err
	}
	_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), "Bearer ")
	for _, credential := range []string{bearer, r.Header.Get("X-Vault-Token"), r.Header.Get("X-Amz-Security-Token")} {
		if credential != "" {
			t.secrets.Add(secret.New(credential))
		}
	}
	answer, err := t.next.RoundTrip(r)
	if !linkLocal(r.URL) { // where there is nobody, on most machines
		t.mu.Lock()
		t.last = err
		t.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, mostRead)
	return answer, nil
}

// mostRead is how much of an answer is read, in bytes.
const mostRead = 1 << 20

// redirected tells of an answer that is a redirect.
func redirected(r *http.Response) error {
	to := "elsewhere"
	if location, err := r.Location(); err == nil {
		to = "to " + location.Host
	}
	return failure("failed", "%s answered with a redirect %s, which is not followed, since the request has credentials: "+
		"name the right address", r.Request.URL.Host, to)
}

// linkLocal reports whether an address is where clouds tell their machines who they are.
func linkLocal(u *url.URL) bool { return net.ParseIP(u.Hostname()).IsLinkLocalUnicast() }

// checkPlain refuses an address that is not https, but for this machine's own and the
// link-local ones.
func checkPlain(u *url.URL) error {
	here := api.IsLoopback(u.Hostname()) || linkLocal(u)
	if strings.EqualFold(u.Scheme, "https") || strings.EqualFold(u.Scheme, "http") && here {
		return nil
	}
	return failure("invalid-uri", "the service's address %s is not https", u.Host)
}
