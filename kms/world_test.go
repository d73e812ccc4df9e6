package kms_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/kms"
	"github.com/ghapp-dev/ghapp/signer"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// The test's own program plays ghapp-signer-kms when it is called by that name, so that
// each question has a process and an environment of its own.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == signer.KMSProgram {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := execsigner.Answer(ctx, os.Stdin, kms.Stdout(), kms.Holder{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		stay()
		os.Exit(0)
	}
	// With the race detector, each program that the tests start would sleep for a second
	// before it ends; and most of the time the tests wait for a program.
	_ = os.Setenv("GORACE", quick)
	flag.Parse()
	if err := moreParallel(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cleanUp()
	os.Exit(code)
}

const quick = "atexit_sleep_ms=0"

// moreParallel lets more tests run at once than there are processors, unless the
// command line says how many.
func moreParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
}

// cleanUp removes what the tests have built, and stay is for the end of a program that they start.
var cleanUp, stay = func() {}, func() {}

// patience is how long something may take that is expected to happen.
const patience = time.Minute

// appKey is the App's private key, which a service has and ghapp has not.
var appKey = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(2048) })

// otherKeys are keys that do not fit, or are somebody else's.
var (
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(2048) })
	shortKey = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(1024) })
	bigKey   = sync.OnceValue(func() *rsa.PrivateKey { return rsaKey(3072) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func rsaKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// world is what the programs of a test see: a home, an environment, and an internet of
// the hosts that the test plays, behind a proxy on loopback that connects to nothing
// else. Services are so addressed by their real names, over TLS.
type world struct {
	t       *testing.T
	root    string
	environ map[string]string
	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	proxy   string

	mu      sync.Mutex
	hosts   map[string]http.Handler // by host, without a port
	asked   []string                // hosts that were connected to
	secrets []string                // what no program may ever say
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, hosts: map[string]http.Handler{}}
	root, err := os.MkdirTemp("", "ghapp-kms-") // a short name, since those of sockets are bounded
	testkit.OK(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	w.root = root
	for _, dir := range []string{"home", "bin", "cache", "run", "work"} {
		testkit.OK(t, os.Mkdir(filepath.Join(root, dir), 0o700))
	}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(root, "bin", signer.KMSProgram))
	}
	testkit.OK(t, err)
	w.makeCA()
	w.listen()
	w.environ = map[string]string{
		"PATH": filepath.Join(root, "bin") + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME": filepath.Join(root, "home"), "USERPROFILE": filepath.Join(root, "home"),
		"XDG_CACHE_HOME": filepath.Join(root, "cache"), "XDG_RUNTIME_DIR": filepath.Join(root, "run"),
		"LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", "GORACE": quick,
		"HTTPS_PROXY": w.proxy, "HTTP_PROXY": w.proxy,
		"SSL_CERT_FILE": filepath.Join(root, "ca.pem"), "SSL_CERT_DIR": filepath.Join(root, "none"),
		// Where a cloud's libraries would look for a machine of theirs.
		"AWS_EC2_METADATA_DISABLED": "true", "GCE_METADATA_HOST": "127.0.0.1:1",
	}
	for _, name := range []string{"TMPDIR", "GOCOVERDIR", "SYSTEMROOT"} {
		if value := os.Getenv(name); value != "" {
			w.environ[name] = value
		}
	}
	return w
}

func (w *world) makeCA() {
	w.t.Helper()
	w.caKey = ecKey()
	w.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ghapp's tests"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, w.ca, w.ca, &w.caKey.PublicKey, w.caKey))(w.t)
	w.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (w *world) certificate(host string) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, &w.caKey.PublicKey, w.caKey)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: w.caKey}
}

// listen starts the proxy.
func (w *world) listen() {
	w.t.Helper()
	listener := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(w.t)
	w.proxy = "http://" + listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(w.connect)}
	go func() { _ = server.Serve(listener) }()
	w.t.Cleanup(func() { _ = server.Close() })
}

// connect plays the host that a program wants to be connected to.
func (w *world) connect(out http.ResponseWriter, r *http.Request) {
	host := r.URL.Hostname()
	w.mu.Lock()
	w.asked = append(w.asked, host)
	handler := w.hosts[host]
	w.mu.Unlock()
	if r.Method != http.MethodConnect {
		panic(http.ErrAbortHandler) // somebody looks for a cloud's machine
	}
	if handler == nil {
		http.Error(out, "there is no such host in this test", http.StatusBadGateway)
		return
	}
	conn, _, err := out.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	fmt.Fprint(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	server := &http.Server{Handler: handler}
	w.t.Cleanup(func() { _ = server.Close() })
	_ = server.Serve(&oneConn{conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{w.certificate(host)}})})
}

// oneConn is a listener of one connection.
type oneConn struct {
	conn net.Conn
	done bool
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.done {
		return nil, net.ErrClosed
	}
	l.done = true
	return l.conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// host plays a host.
func (w *world) host(name string, handler http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = handler
}

// secret takes note of what no program may say.
func (w *world) secret(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = append(w.secrets, text)
	return text
}

// connections are the hosts that were asked for, each once.
func (w *world) connections() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.asked)))
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.root, name)
	testkit.OK(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	testkit.OK(w.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (w *world) environList() []string {
	var list []string
	for name, value := range w.environ {
		list = append(list, name+"="+value)
	}
	return list
}

// question is a request of the exec protocol.
type question struct {
	execsigner.Request
	PrivateKey []byte `json:"private_key,omitempty"`
}

// ask runs ghapp-signer-kms for one question.
func (w *world) ask(q question) execsigner.Response {
	w.t.Helper()
	q.Version = execsigner.ProtocolVersion
	if q.Seconds == 0 {
		q.Seconds = int(patience / time.Second)
	}
	request := testkit.Must(json.Marshal(q))(w.t)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.root, "bin", signer.KMSProgram))
	cmd.Env, cmd.Dir, cmd.Stdin = w.environList(), w.root, bytes.NewReader(request)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	testkit.OK(w.t, err, "ghapp-signer-kms, %s%s", answer, stderr.String())
	w.says("ghapp-signer-kms", string(answer)+stderr.String())
	var response execsigner.Response
	testkit.OK(w.t, json.Unmarshal(answer, &response), "%s", answer)
	if f := response.Error; f != nil &&
		(f.Message == "" || strings.ContainsAny(f.Message, "\r\n\x00\x1b") || len(f.Message) > 310) {
		w.t.Errorf("the message is not one short line: %q", f.Message)
	}
	return response
}

// says fails if there is a secret in what a program has said.
func (w *world) says(who, text string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range w.secrets {
		if strings.Contains(text, secret) {
			w.t.Errorf("%s says a secret: %s", who, text)
		}
	}
}

// publicKey asks for the public key behind a URI.
func (w *world) publicKey(uri string) execsigner.Response {
	w.t.Helper()
	return w.ask(question{Request: execsigner.Request{Operation: execsigner.OperationPublicKey, Key: uri}})
}

// message is what is signed in these tests, and digest its SHA-256.
var (
	message = []byte("header.payload")
	digest  = sha256Of(message)
)

// signature asks for a signature.
func (w *world) signature(uri string) execsigner.Response {
	w.t.Helper()
	return w.ask(question{Request: execsigner.Request{Operation: execsigner.OperationSign, Key: uri, Algorithm: "RS256",
		Message: message, Digest: digest}})
}

// imported has a key imported.
func (w *world) imported(uri string, key any) execsigner.Response {
	w.t.Helper()
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(key))(w.t)
	return w.ask(question{Request: execsigner.Request{Operation: execsigner.OperationImport, Key: uri}, PrivateKey: der})
}

// holds fails unless a URI names a key, which signs.
func (w *world) holds(uri string, key *rsa.PrivateKey) {
	w.t.Helper()
	want := testkit.Must(x509.MarshalPKIXPublicKey(&key.PublicKey))(w.t)
	if got := w.publicKey(uri); got.Error != nil || !bytes.Equal(got.PublicKey, want) {
		w.t.Fatalf("%s: the public key is not that of the service: %v", uri, got.Error)
	}
	got := w.signature(uri)
	if got.Error != nil {
		w.t.Fatalf("%s: %v", uri, got.Error)
	}
	testkit.OK(w.t, verify(&key.PublicKey, got.Signature), "%s", uri)
}

// badCase is something that goes wrong.
type badCase struct {
	name string
	// set makes it go wrong, and returns the key URI; "" is the good one.
	set  func() string
	ask  func(uri string) execsigner.Response // nil: both public-key and sign
	kind string
	text string // a part of the message
}

// fails fails unless both operations fail as they should.
func (w *world) fails(c badCase, uri string) {
	w.t.Helper()
	if other := c.set(); other != "" {
		uri = other
	}
	asks := []func(string) execsigner.Response{w.publicKey, w.signature}
	if c.ask != nil {
		asks = asks[:0]
		asks = append(asks, c.ask)
	}
	for _, ask := range asks {
		got := ask(uri)
		if got.Error == nil || got.Error.Kind != c.kind || !strings.Contains(got.Error.Message, c.text) {
			w.t.Errorf("the error is %v; want %s: …%s…", got.Error, c.kind, c.text)
		}
		if len(got.PublicKey)+len(got.Signature) > 0 {
			w.t.Error("there is an answer beside the error")
		}
	}
}

// evil is a host that gets a redirect, and must not get a request.
func (w *world) evil() (location string) {
	w.host("evil.example", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w.t.Cleanup(func() {
		if slices.Contains(w.connections(), "evil.example") {
			w.t.Error("a redirect was followed to another host")
		}
	})
	return "https://evil.example/steal"
}

// slow answers nothing before whoever asked has gone.
func slow() http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	})
}

// slowly asks for a signature, and waits for two seconds.
func slowly(w *world) func(string) execsigner.Response {
	return func(uri string) execsigner.Response {
		return w.ask(question{Request: execsigner.Request{Operation: execsigner.OperationSign, Key: uri, Seconds: 2,
			Message: message, Digest: digest}})
	}
}

// endless answers until whoever asked has gone.
func endless() http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		for text := []byte(strings.Repeat(" ", 64<<10)); ; {
			if _, err := out.Write(text); err != nil {
				return
			}
		}
	})
}

// replies answers everything with the same.
func replies(status int, text string, headers ...string) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			out.Header().Set(headers[i], headers[i+1])
		}
		out.WriteHeader(status)
		_, _ = out.Write([]byte(text))
	})
}

// generally are the bad days that every service can have at its host.
func (w *world) generally(host string) []badCase {
	down := func(handler http.Handler) func() string {
		return func() string { w.host(host, handler); return "" }
	}
	return []badCase{
		{name: "down", set: down(nil), kind: "unavailable", text: host},
		{name: "slow", set: down(slow()), kind: "timeout", ask: slowly(w)},
		{name: "hangs up", kind: "unavailable",
			set: down(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))},
		{name: "garbage", kind: "failed",
			set: down(replies(200, "<html>\x1b[31mWelcome\r\n</html>", "Content-Type", "text/html"))},
		{name: "garbage that does not end", kind: "failed", set: down(endless()), ask: func(uri string) execsigner.Response {
			return w.ask(question{Request: execsigner.Request{Operation: execsigner.OperationSign, Key: uri, Seconds: 20,
				Message: message, Digest: digest}})
		}},
		{name: "an empty answer", kind: "failed", set: down(replies(200, "{}", "Content-Type", "application/json"))},
		{name: "bad gateway", kind: "unavailable", set: down(replies(502, "<html>"))},
		{name: "redirect to another host", kind: "failed", text: "redirect", set: func() string {
			w.host(host, replies(307, "", "Location", w.evil()))
			return ""
		}},
	}
}

// aCase is a bad case in a world of its own.
type aCase struct {
	name  string
	index int
	of    func(*world) []badCase
}

// casesOf lists cases, of which each is then set up in a world of its own.
func casesOf(t *testing.T, of func(*world) []badCase) []aCase {
	t.Helper()
	var cases []aCase
	for i, c := range of(newWorld(t)) {
		cases = append(cases, aCase{c.name, i, of})
	}
	return cases
}

func (c aCase) run(t *testing.T, uri string) {
	t.Run(c.name, func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.fails(c.of(w)[c.index], uri)
	})
}
