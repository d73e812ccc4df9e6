package door_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/door"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// signed is a door that verifies the tokens of an issuer, and one of them.
func signed(b *testing.B) (c door.Config, token string) {
	issuer := githubtest.NewIssuer()
	server := httptest.NewTLSServer(issuer)
	b.Cleanup(server.Close)
	issuer.SetURL(server.URL)
	ca := write(b, filepath.Join(b.TempDir(), "ca"),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c = doorConfig(&house{})
	c.Verifier = testkit.Must(caller.New(caller.Config{Audience: audience, Issuers: []caller.Issuer{{
		URL: server.URL, CAFile: ca, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}}}))(b)
	c.Exchanger = &cached{}
	return c, issuer.Token(githubtest.Workflow{Immutable: true}.Claims(audience))
}

// cached has the token at hand, and remembers nobody.
type cached struct{}

func (*cached) Token(ctx context.Context, r exchange.Request) (exchange.Answer, error) {
	return (&house{}).Token(ctx, r)
}

// BenchmarkExchange is one exchange by a connection over TLS that is kept open: the form, the
// check of an RS256 signature, the answer; of the decision nothing. What the client does is in
// the time as well.
func BenchmarkExchange(b *testing.B) {
	c, token := signed(b)
	text, config := ownTLS(b, false)
	l := loopback(b)
	running(b, open(b, c), l, config)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }}}
	ask := exchanges(b, client, audience, form("subject_token", token))
	var times []time.Duration
	for b.Loop() {
		times = append(times, ask())
	}
	reportTail(b, times)
}

// BenchmarkExchangeWithAuditOfTwentyCallers is all of it, for a token that is in the cache: the
// policy, and two records for each exchange that are on the disk before the token leaves.
func BenchmarkExchangeWithAuditOfTwentyCallers(b *testing.B) {
	log := testkit.Must(audit.Open(b.Context(), audit.Options{File: filepath.Join(b.TempDir(), "audit.jsonl")}))(b)
	w := newTown(b, log)
	b.Cleanup(func() { testkit.OK(b, log.Close()) })
	token := w.issuer.Token(githubtest.Workflow{RepositoryID: w.site}.Claims(w.address))
	f := form("subject_token", token, "resource", w.github+"/acme/site")
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.roots}, MaxIdleConnsPerHost: 100,
	}}
	exchanges(b, client, w.address, f)() // mints
	var mu sync.Mutex
	var times []time.Duration
	b.SetParallelism(20)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		ask := exchanges(b, client, w.address, f)
		for pb.Next() {
			own = append(own, ask())
		}
		mu.Lock()
		defer mu.Unlock()
		times = append(times, own...)
	})
	reportTail(b, times)
}

// exchanges returns a function that asks for a token and says how long it took.
func exchanges(b *testing.B, client *http.Client, address string, f url.Values) func() time.Duration {
	body := f.Encode()
	return func() time.Duration {
		began := time.Now()
		w, err := client.Post(address+"/token", "application/x-www-form-urlencoded", strings.NewReader(body))
		if err != nil {
			b.Error(err)
			return 0
		}
		defer w.Body.Close()
		_, _ = io.Copy(io.Discard, w.Body)
		testkit.Equal(b, w.StatusCode, 200)
		return time.Since(began)
	}
}

func reportTail(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkExchangeWithoutNetwork is the server's half of it.
func BenchmarkExchangeWithoutNetwork(b *testing.B) {
	c, token := signed(b)
	d := open(b, c)
	body := form("subject_token", token).Encode()
	b.ReportAllocs()
	for b.Loop() {
		testkit.Equal(b, serve(d, post("/token", body)).Code, 200)
	}
}
