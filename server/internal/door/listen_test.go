package door_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/door"
)

// certificate makes one that signs itself, with its key, in PEM.
func certificate(t testing.TB, change func(*x509.Certificate)) (text, key []byte) {
	private := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: testkit.Must(rand.Int(rand.Reader, big.NewInt(1<<60)))(t), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"ghapp.example.com"}, BasicConstraintsValid: true,
	}
	change(template)
	der := testkit.Must(x509.CreateCertificate(rand.Reader, template, template, private.Public(), private))(t)
	pkcs8 := testkit.Must(x509.MarshalPKCS8PrivateKey(private))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func write(t testing.TB, path string, content []byte) string {
	testkit.OK(t, os.WriteFile(path+".new", content, 0o600))
	testkit.OK(t, os.Rename(path+".new", path))
	return path
}

// running is a door that is open to the network of this machine.
func running(t testing.TB, d *door.Door, l net.Listener, config *tls.Config) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, l, config) }()
	t.Cleanup(func() {
		stop()
		testkit.OK(t, <-ended)
	})
}

func loopback(t testing.TB) net.Listener {
	return testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
}

func client(dial func() (net.Conn, error), config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() },
	}}
}

func postForm(t testing.TB, c *http.Client, address string, f url.Values) (int, map[string]any) {
	w := testkit.Must(c.PostForm(address+"/token", f))(t)
	defer w.Body.Close()
	var body map[string]any
	testkit.OK(t, json.Unmarshal(testkit.Must(io.ReadAll(w.Body))(t), &body))
	return w.StatusCode, body
}

func TestCertificateIsReadAnewWhenItHasChanged(t *testing.T) {
	testkit.Long(t) // files are looked at once a second
	t.Parallel()
	dir := t.TempDir()
	first, firstKey := certificate(t, func(*x509.Certificate) {})
	second, secondKey := certificate(t, func(*x509.Certificate) {})
	crt, key := write(t, filepath.Join(dir, "crt"), first), write(t, filepath.Join(dir, "key"), firstKey)
	config := testkit.Must(door.TLS(crt, key, false))(t)
	l := loopback(t)
	running(t, open(t, doorConfig(&house{})), l, config)
	shown := func() string {
		conn := testkit.Must(tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}))(t)
		defer conn.Close()
		leaf := conn.ConnectionState().PeerCertificates[0]
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	}
	testkit.Equal(t, shown(), string(first))
	write(t, crt, second)
	time.Sleep(1100 * time.Millisecond)
	testkit.Equal(t, shown(), string(first), "the key of the new one is not there yet")
	write(t, key, secondKey)
	time.Sleep(1100 * time.Millisecond)
	testkit.Equal(t, shown(), string(second))
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	_, config := ownTLS(t, false)
	l := loopback(t)
	running(t, open(t, doorConfig(&house{})), l, config)
	_, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	testkit.Fails(t, err)
}

// ownTLS is a server's TLS with a certificate that is trusted by itself.
func ownTLS(t testing.TB, clientCertificates bool) (root []byte, config *tls.Config) {
	dir := t.TempDir()
	text, key := certificate(t, func(*x509.Certificate) {})
	crt, private := write(t, filepath.Join(dir, "crt"), text), write(t, filepath.Join(dir, "key"), key)
	return text, testkit.Must(door.TLS(crt, private, clientCertificates))(t)
}

// Whoever sends a header byte by byte has five seconds for all of it.
func TestCallerWhoDripsIsNotWaitedFor(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	l := loopback(t)
	running(t, open(t, doorConfig(&house{})), l, nil)
	conn := testkit.Must(net.Dial("tcp", l.Addr().String()))(t)
	defer conn.Close()
	began, ended := time.Now(), make(chan error, 1)
	go func() {
		_, err := io.ReadAll(conn)
		ended <- err
	}()
	for {
		select {
		case <-ended:
			if took := time.Since(began); took < 4*time.Second || took > 20*time.Second {
				t.Errorf("it ended after %v", took)
			}
			return
		case <-time.After(100 * time.Millisecond):
			_, _ = io.WriteString(conn, "P") // of a POST that never comes
		}
	}
}

func TestWorkloadIsKnownByItsCertificate(t *testing.T) {
	t.Parallel()
	text, config := ownTLS(t, true)
	// The workload's is its own authority, which x509 takes for a root that is a leaf.
	id := testkit.Must(url.Parse("spiffe://example.org/ns/default/sa/deployer"))(t)
	proofText, proofKey := certificate(t, func(c *x509.Certificate) {
		c.URIs, c.ExtKeyUsage = []*url.URL{id}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	verifier := testkit.Must(caller.New(caller.Config{Audience: audience, TrustDomains: []caller.TrustDomain{
		{Name: "example.org", CAFile: write(t, filepath.Join(t.TempDir(), "bundle"), proofText)},
	}}))(t)
	h := &house{}
	c := doorConfig(h)
	c.Verifier = verifier
	l := loopback(t)
	running(t, open(t, c), l, config)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	dial := func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	pair := testkit.Must(tls.X509KeyPair(proofText, proofKey))(t)
	f := form("subject_token", "-", "subject_token_type", "-")
	status, _ := postForm(t, client(dial, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}), audience, f)
	testkit.Equal(t, status, 200)
	testkit.Equal(t, h.asked[0].Caller.Subject, id.String())
	status, _ = postForm(t, client(dial, &tls.Config{RootCAs: roots}), audience, f)
	testkit.Equal(t, status, 400, "without a certificate")
	other, otherKey := certificate(t, func(c *x509.Certificate) { c.URIs = []*url.URL{id} })
	stranger := testkit.Must(tls.X509KeyPair(other, otherKey))(t)
	unknown := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{stranger}}
	status, _ = postForm(t, client(dial, unknown), audience, f)
	testkit.Equal(t, status, 400, "with one that nobody has signed")
	testkit.Contains(t, h.refusals[0].Reason, "no authority of its trust domain")
}

func TestTokensAreNotServedInTheOpen(t *testing.T) {
	t.Parallel()
	l := testkit.Must(net.Listen("tcp", "0.0.0.0:0"))(t)
	ended, end := context.WithCancel(t.Context())
	end() // so that it does not serve on, should it begin to
	testkit.ErrorIs(t, open(t, doorConfig(&house{})).Serve(ended, l, nil), door.ErrPlain)
	c := doorConfig(&house{})
	c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	running(t, open(t, c), l, nil)
}

// A program that a parallel test starts would have the socket and its lock for a moment.
func TestSocketIsThereWithItsModeAndGoesAway(t *testing.T) {
	dir := testkit.Must(os.MkdirTemp("", "door"))(t) // a socket's name is short
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l := testkit.Must(door.ListenUnix(path, 0o660))(t)
	testkit.Equal(t, testkit.Must(os.Lstat(path))(t).Mode(), os.ModeSocket|0o660)
	_, err := door.ListenUnix(path, 0o660)
	testkit.ErrorContains(t, err, "another process listens")
	h := &house{}
	t.Run("answers", func(t *testing.T) {
		running(t, open(t, doorConfig(h)), l, nil)
		dial := func() (net.Conn, error) { return net.Dial("unix", path) }
		status, _ := postForm(t, client(dial, nil), "http://anything", form())
		testkit.Equal(t, status, 200)
		testkit.Equal(t, h.asked[0].Address, "")
	})
	_, err = os.Lstat(path)
	testkit.ErrorIs(t, err, os.ErrNotExist)
	left := testkit.Must(os.ReadDir(dir))(t)
	testkit.Equal(t, len(left), 1, "the lock alone stays")
	testkit.OK(t, testkit.Must(door.ListenUnix(path, 0o600))(t).Close())
}

// Case 37, as far as it is this socket's.
func TestSocketIsNotMadeWhereOthersCouldPutTheirs(t *testing.T) {
	dir := testkit.Must(os.MkdirTemp("", "door"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	sub := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		testkit.OK(t, os.Mkdir(path, 0o700))
		testkit.OK(t, os.Chmod(path, mode))
		return path
	}
	shared, own := sub("shared", 0o777), sub("own", 0o755)
	link := filepath.Join(dir, "link")
	testkit.OK(t, os.Symlink(own, link))
	file := write(t, filepath.Join(own, "file"), nil)
	below := filepath.Join(shared, "own") // anybody can put another into its place
	testkit.OK(t, os.Mkdir(below, 0o700))
	toSocket := filepath.Join(own, "to")
	testkit.OK(t, os.Symlink("/nowhere", toSocket))
	for _, path := range []string{
		filepath.Join(shared, "s"), filepath.Join(sub("sticky", 0o777|os.ModeSticky), "s"), filepath.Join(link, "s"),
		filepath.Join(below, "s"), filepath.Join(dir, "absent", "s"), file, toSocket,
		filepath.Join(own, strings.Repeat("a", 200)),
	} {
		l, err := door.ListenUnix(path, 0o660)
		testkit.Fails(t, err, "%s", path)
		if err == nil {
			l.Close()
		}
	}
	// What a process that was killed has left is replaced.
	dead := filepath.Join(own, "dead")
	socket := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"}))(t)
	socket.SetUnlinkOnClose(false)
	live := testkit.ErrorOf(door.ListenUnix(dead, 0o660))
	testkit.ErrorContains(t, live, "another process listens")
	testkit.OK(t, socket.Close())
	testkit.OK(t, testkit.Must(door.ListenUnix(dead, 0o660))(t).Close())
}
