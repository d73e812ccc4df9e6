package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// probeTimeout bounds the one request that shows the way to the API.
const probeTimeout = 20 * time.Second

// mostOfMeta bounds what is read of the answer, enough to see its form.
const mostOfMeta = 4 << 10

// probe is one request to the API without a credential, through the transport of the
// commands, and what was seen on its way.
type probe struct {
	target *url.URL
	proxy  *url.URL // nil: none
	passed
	status  int // 0 where no answer came
	header  http.Header
	foreign *api.ForeignError // whose it is where it is not GitHub's
	err     error             // why none came
}

// passed is what a request came past.
type passed struct {
	addresses []string // that DNS gave
	connected string   // the address of the connection, to the proxy where there is one
	secured   *tls.ConnectionState
	sent      time.Time // not before there was a connection to send the request on
	received  time.Time // not after the answer was there
}

// newProbe asks GET /meta: what it says matters little, that GitHub answers a lot.
func newProbe(ctx context.Context, reach ghapp.Config, host api.Host) *probe {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, errors.New("no answer within "+probeTimeout.String()))
	defer cancel()
	p := &probe{}
	ctx, passed := trace(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host.API+"/meta", nil)
	if err != nil {
		p.err = err
		return p
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("User-Agent", cmp.Or(reach.UserAgent, "ghapp"))
	p.target = req.URL
	if t, ok := reach.Transport.(*http.Transport); ok && t.Proxy != nil {
		if p.proxy, p.err = t.Proxy(req); p.err != nil {
			return p
		}
	}
	// Not by a client: a redirect is an answer as well.
	began := time.Now()
	answer, err := reach.Transport.RoundTrip(req)
	ended := time.Now()
	p.passed = passed()
	if p.sent.IsZero() {
		p.sent = began // a transport that tells nothing
	}
	if p.received.IsZero() {
		p.received = ended
	}
	if err != nil {
		p.err = err
		if ctx.Err() != nil {
			p.err = context.Cause(ctx)
		}
		return p
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, mostOfMeta))
	p.status, p.header, p.foreign = answer.StatusCode, answer.Header, api.Foreign(answer, body)
	if p.foreign == nil && p.status < 300 && answer.Header.Get("X-GitHub-Request-Id") == "" {
		// of another server's API
		p.foreign = &api.ForeignError{Host: p.target.Host, Status: p.status, Media: "application/json"}
	}
	return p
}

// trace notes what a request comes past, until that is asked for. Some of it may happen
// beside the request, and after its end.
func trace(ctx context.Context) (traced context.Context, until func() passed) {
	var mu sync.Mutex
	var p passed
	seen := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
	}
	traced = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) {
			seen(func() {
				p.addresses = nil
				for _, address := range i.Addrs {
					p.addresses = append(p.addresses, address.String())
				}
			})
		},
		// Over HTTP/2 the answer may be there before it is told that the request was
		// written. The moment of the connection is told in time.
		GotConn: func(i httptrace.GotConnInfo) {
			seen(func() { p.connected, p.sent = i.Conn.RemoteAddr().String(), time.Now() })
		},
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			if err == nil {
				seen(func() { p.secured = &s })
			}
		},
		GotFirstResponseByte: func() { seen(func() { p.received = time.Now() }) },
	})
	return traced, func() passed {
		mu.Lock()
		defer mu.Unlock()
		return p
	}
}

// The stages of a request, each of which is a link.
const (
	linkProxy       = "proxy"
	linkDNS         = "DNS"
	linkConnection  = "connection"
	linkCertificate = "certificate"
	linkHost        = "host"
	linkClock       = "clock" // not one of a request's, but told by its answer
)

// stage is the link that the request failed at, or "". There is a connection once the
// proxy has led on and the certificate was taken.
func (p *probe) stage() string {
	if p.err == nil {
		return ""
	}
	_, dns := errors.AsType[*net.DNSError](p.err)
	_, proxy := errors.AsType[*api.ProxyError](p.err)
	switch {
	case p.connected != "":
		return linkHost
	case p.tlsFailed():
		return linkCertificate
	case p.proxy != nil, proxy:
		return linkProxy
	case dns:
		return linkDNS
	}
	return linkConnection
}

// tlsFailed reports whether the handshake is what went wrong.
func (p *probe) tlsFailed() bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](p.err)
	_, record := errors.AsType[tls.RecordHeaderError](p.err)
	text := p.err.Error() // net/http has no types for the others
	return verification || record || strings.Contains(text, "tls: ") || strings.Contains(text, "TLS handshake")
}

// failure is the error of the request, as the commands have it.
func (p *probe) failure() error { return &api.NetworkError{Host: p.target.Host, Err: p.err} }

// networkLinks are the way to the API, step by step.
func (h *hostChain) networkLinks() []link {
	return []link{
		{name: "CA file", check: h.checkCAFile},
		{name: linkProxy, needs: []string{"CA file"}, check: h.checkProxy},
		{name: linkDNS, needs: []string{linkProxy}, check: h.checkDNS},
		{name: linkConnection, needs: []string{linkDNS}, check: h.checkConnection},
		{name: linkCertificate, needs: []string{linkConnection}, check: h.checkCertificate},
		{name: linkHost, needs: []string{linkCertificate}, check: h.checkHost},
		{name: linkClock, needs: []string{linkHost}, check: h.checkClock},
	}
}

func (h *hostChain) checkCAFile(context.Context) Finding {
	reach, err := h.x.Reach(h.settings)
	if err == nil {
		h.host, err = api.ParseHost(reach.Host, reach.APIURL)
	}
	file := h.settings.CAFile
	if err != nil {
		return broken(err, "%s", cmp.Or(file.Text, h.settings.Host.Text))
	}
	h.reach = reach
	if file.Text != "" {
		return ok("%s (%s), besides the system's", file.Text, file.Source)
	}
	return ok("none: the system's authorities are trusted")
}

func (h *hostChain) checkProxy(ctx context.Context) Finding {
	h.probe = newProbe(ctx, h.reach, h.host)
	if h.probe.proxy != nil {
		h.x.names.address(h.probe.proxy.Host)
	}
	if unreadable, ok := errors.AsType[*api.ProxyError](h.probe.err); ok && unreadable.Setting != "" {
		return broken(h.probe.failure(), "%s names none", unreadable.Setting)
	}
	if h.probe.stage() == linkProxy {
		return broken(h.probe.failure(), "%s is not reached through %s", h.probe.target.Host, shownProxy(h.probe.proxy))
	}
	if h.probe.proxy == nil {
		return ok("none")
	}
	return ok("%s", shownProxy(h.probe.proxy))
}

// shownProxy is a proxy without its login.
func shownProxy(proxy *url.URL) string {
	if proxy == nil {
		return "the proxy"
	}
	return proxy.Scheme + "://" + proxy.Host
}

func (h *hostChain) checkDNS(context.Context) Finding {
	p := h.probe
	name := p.target.Hostname()
	switch {
	case p.stage() == linkDNS:
		return broken(p.failure(), "%s is not found", name)
	case p.proxy != nil:
		return ok("left to the proxy")
	case net.ParseIP(name) != nil:
		return ok("%s needs none", name)
	}
	return ok("%s is %s", name, cmp.Or(strings.Join(p.addresses, ", "), "known"))
}

func (h *hostChain) checkConnection(context.Context) Finding {
	p := h.probe
	if p.stage() == linkConnection {
		return broken(p.failure(), "there is none to %s", p.target.Host)
	}
	return ok("%s", cmp.Or(p.connected, p.target.Host))
}

func (h *hostChain) checkCertificate(ctx context.Context) Finding {
	p := h.probe
	if p.stage() == linkCertificate {
		if other, ok := errors.AsType[x509.HostnameError](p.err); ok {
			h.x.names.certificate(other.Certificate)
		}
		if file := h.authorityOfGit(ctx); file != "" {
			return broken(&diag.TroubleError{Trouble: diag.AuthorityOfGit, Subject: file, Text: p.failure().Error()},
				"that of %s is not trusted", p.target.Host)
		}
		return broken(p.failure(), "that of %s is not taken", p.target.Host)
	}
	switch {
	case p.target.Scheme == "http":
		return ok("none: %s is on this machine", p.target.Host)
	case p.secured == nil || len(p.secured.PeerCertificates) == 0:
		return ok("there is one")
	}
	leaf := p.secured.PeerCertificates[0]
	h.x.names.certificate(leaf)
	return ok("of %s, good until %s, %s", cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String()),
		leaf.NotAfter.UTC().Format(time.DateOnly), tls.VersionName(p.secured.Version))
}

func (h *hostChain) checkHost(context.Context) Finding {
	p := h.probe
	if p.stage() == linkHost {
		return broken(p.failure(), "%s does not answer", p.target.Host)
	}
	text := fmt.Sprintf("%s, API %s", h.host.Name, h.host.API)
	switch {
	case p.status >= 500:
		return broken(&ghapp.Error{Kind: ghapp.ErrUnreachable, Op: "ask " + p.target.Host, Status: p.status,
			RequestID: p.header.Get("X-GitHub-Request-Id")}, "%s fails", h.host.API)
	case p.foreign != nil:
		return broken(diag.Foreign(p.foreign), "another server is at %s", h.host.API)
	}
	if release := p.header.Get("X-GitHub-Enterprise-Version"); release != "" {
		release = strings.TrimPrefix(release, "enterprise-server@")
		return ok("%s: GitHub Enterprise Server %s", text, release)
	}
	if strings.HasSuffix(h.host.Name, ".ghe.com") {
		return ok("%s: GitHub Enterprise Cloud with data residency", text)
	}
	return ok("%s: GitHub.com", text)
}

// clockTolerance is how far a clock may be off without a word. A JSON Web Token
// forgives twice as much.
const clockTolerance = 30 * time.Second

func (h *hostChain) checkClock(context.Context) Finding {
	p := h.probe
	offset, uncertain, measured := api.Measure(p.header, p.sent, p.received)
	if !measured {
		return note("%s does not tell its time", p.target.Host)
	}
	if !api.Believable(offset) {
		return broken(&ghapp.Error{Kind: ghapp.ErrClockOff, Op: "tell the time by " + p.target.Host,
			Detail: &ghapp.ClockError{Offset: offset},
			Err: fmt.Errorf("its clock shows %s, which is more than %.0f hours from this machine's",
				time.Now().Add(offset).UTC().Format("2006-01-02 15:04 MST"), api.MaxOffset.Hours())},
			"one of the two is far off")
	}
	text := fmt.Sprintf("GitHub's is %s ours, give or take %.1f s", ahead(offset), uncertain.Seconds())
	if offset.Abs() > clockTolerance {
		return warn(&diag.TroubleError{Trouble: diag.ClockOff, Text: "this machine's clock is " + ahead(-offset) +
			" GitHub's, by which a JSON Web Token and the life of a token are judged"}, "%s", text)
	}
	if offset == 0 {
		text = fmt.Sprintf("right, give or take %.1f s", uncertain.Seconds())
	}
	return ok("%s", text)
}

// ahead says in seconds how a clock is that shows d more than another.
func ahead(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%.0f s behind", -d.Seconds())
	}
	return fmt.Sprintf("%.0f s ahead of", d.Seconds())
}
