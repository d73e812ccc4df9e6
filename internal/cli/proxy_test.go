package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The hosts of these tests are in no DNS (RFC 6761 section 6.2): only a proxy leads
// there.
const (
	proxiedHost = "github.test"
	proxiedAPI  = "api.github.test"
)

// secure is a server of https for a machine, which is told of its authority.
func (m *machine) secure() *httptest.Server {
	m.t.Helper()
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(m.t)
	now := time.Now()
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames:    []string{proxiedHost, proxiedAPI, "github.com", "*.github.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key))(m.t)
	server := httptest.NewUnstartedServer(m.traffic)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	m.t.Cleanup(server.Close)
	m.environ["GHAPP_CA_FILE"] = filepath.Join(m.root, "ca.pem")
	m.write(m.environ["GHAPP_CA_FILE"], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return server
}

// proxy leads every CONNECT (RFC 9110 section 9.3.6) to one server, if it comes with
// the right login.
type proxy struct {
	to       string
	login    string // of Proxy-Authorization; empty: none is asked for
	mu       sync.Mutex
	requests []*http.Request
}

func newProxy(t *testing.T, to *httptest.Server, login string) (p *proxy, address string) {
	p = &proxy{to: to.Listener.Addr().String(), login: login}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server.Listener.Addr().String()
}

// ServeHTTP implements [http.Handler].
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r)
	p.mu.Unlock()
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	case p.login != "" && r.Header.Get("Proxy-Authorization") != p.login:
		w.Header().Set("Proxy-Authenticate", "Basic")
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return
	}
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(here, there)
		_ = here.Close()
	})
	_, _ = io.Copy(there, buffered)
	_ = there.Close()
	back.Wait()
}

// asked are the hosts that the proxy was asked for, and by whom.
func (p *proxy) asked() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := map[string]bool{}
	for _, r := range p.requests {
		program, _, _ := strings.Cut(r.UserAgent(), "/")
		asked[program+" to "+r.Host] = true
	}
	return asked
}

// told is all that stood in the headers of the requests.
func (p *proxy) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var told strings.Builder
	for _, r := range p.requests {
		_ = r.Header.Write(&told) // to memory: it cannot fail
	}
	return told.String()
}

func TestProxyOfTheEnvironmentIsUsedForGitHubAndGit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ variable, login, authorization string }{
		"small letters":   {variable: "https_proxy"},
		"capital letters": {variable: "HTTPS_PROXY"},
		"with a login":    {variable: "https_proxy", login: "corp:s3cret@", authorization: "Basic Y29ycDpzM2NyZXQ="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			p, address := newProxy(t, m.secure(), test.authorization)
			m.host = proxiedHost
			m.environ["GHAPP_HOST"] = proxiedHost
			m.environ[test.variable] = "http://" + test.login + address
			m.trace("1")
			r := m.must("-v", "clone", "acme/site")
			m.onlyOurs(3)
			want := []string{"Go-http-client to github.test:443", "git to github.test:443"}
			testkit.Diff(t, slices.Sorted(maps.Keys(p.asked())), want)
			m.noSecretIn("what the proxy was told", p.told())
			for _, secret := range []string{"s3cret", "Y29ycDpzM2NyZXQ="} {
				testkit.Lacks(t, r.stdout+r.stderr, secret)
			}
			m.noSecretIn("the output", r.stdout+r.stderr)
		})
	}
}

// git, unlike Go, takes a loopback address to the proxy too, unless it is told not
// to.
func TestHostsThatNeedNoProxyAreReachedWithout(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	server := m.secure()
	p, address := newProxy(t, server, "")
	m.environ["GHAPP_HOST"] = server.URL
	m.environ["GHAPP_API_URL"] = "https://" + proxiedAPI
	m.environ["https_proxy"] = "http://" + address
	clone := func(dir string, want ...string) {
		t.Helper()
		m.must("clone", "acme/site", dir, "--no-cache")
		testkit.Diff(t, slices.Sorted(maps.Keys(p.asked())), want)
	}
	m.environ["no_proxy"] = "other.test,127.0.0.1"
	clone("a", "Go-http-client to api.github.test:443")
	delete(m.environ, "no_proxy")
	clone("b", "Go-http-client to api.github.test:443", "git to "+server.Listener.Addr().String())
}

func TestProxyOfGitsConfigurationIsKept(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	server := m.secure()
	p, address := newProxy(t, server, "")
	m.environ["GHAPP_HOST"] = proxiedHost
	m.environ["GHAPP_API_URL"] = server.URL
	m.gitConfig("http.proxy", "http://"+address)
	m.must("clone", "acme/site")
	if _, ok := p.asked()["git to github.test:443"]; !ok {
		t.Errorf("the proxy was asked %v", p.asked())
	}
}

// A proxy that is not there is told as that.
func TestMissingProxyIsNamed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	server := m.secure()
	m.environ["GHAPP_HOST"] = proxiedHost
	m.environ["GHAPP_API_URL"] = server.URL
	m.gitConfig("http.proxy", "http://127.0.0.1:1")
	r := m.ghapp("clone", "acme/site")
	r.ends(t, 5, "127.0.0.1", "hint: check the network, https_proxy")
	m.nothingLeft()
}

// A machine that checks no certificates would send the token to whoever answers.
func TestCertificatesAreCheckedOnAMachineThatDoesNot(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*machine, string){
		"setting":            func(m *machine, url string) { m.gitConfig("http.sslVerify", "false") },
		"setting of the url": func(m *machine, url string) { m.gitConfig("http."+url+"/.sslVerify", "false") },
		"variable":           func(m *machine, url string) { m.environ["GIT_SSL_NO_VERIFY"] = "1" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			server := m.secure()
			delete(m.environ, "GHAPP_CA_FILE")
			m.environ["GHAPP_API_URL"] = m.environ["GHAPP_HOST"] + "/api/v3"
			m.environ["GHAPP_HOST"] = server.URL
			prepare(m, server.URL)
			r := m.ghapp("clone", "acme/site")
			r.ends(t, 3, "certificate")
			if m.github.Mints() == 0 {
				t.Error("there was no token to send")
			}
			for _, r := range m.github.Requests() {
				if r.Host == server.Listener.Addr().String() {
					t.Errorf("%s %s came over an unchecked connection", r.Method, r.Path)
				}
			}
			m.nothingLeft()
		})
	}
}

// A raw # in the password makes another host of the proxy for some, and none for others.
func TestProxyThatCannotBeReadIsRefusedByName(t *testing.T) {
	t.Parallel()
	const login = "corp:s3cret#cret"
	m := newMachine(t)
	m.environ["https_proxy"] = "http://" + login + "@127.0.0.1:1"
	m.environ["GHAPP_HOST"] = proxiedHost
	for _, args := range [][]string{
		{"clone", "acme/site"}, {"token", "acme/site"}, {"sync", "acme/site", "--to", "live"},
		{"exec", "acme/site", "--", "git", "version"}, {"installations"},
	} {
		r := m.ghapp(args...)
		if r.code != 3 || !strings.Contains(r.stderr, "https_proxy cannot be read") ||
			!strings.Contains(r.stderr, "# as %23") || strings.Contains(r.stdout+r.stderr, "cret") {
			t.Errorf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	// And where git alone has it: what it makes of the login is not shown.
	m = newMachine(t)
	m.gitConfig("http.proxy", "http://"+login+"@127.0.0.1:1")
	for _, args := range [][]string{{"clone", "acme/site"}, {"sync", "acme/site", "--to", "live"}} {
		r := m.ghapp(args...)
		if strings.Contains(r.stdout+r.stderr, "cret") || args[0] == "clone" &&
			!strings.Contains(r.stderr, "(the address of the proxy)") {
			t.Errorf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}
