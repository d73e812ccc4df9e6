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
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
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

// BenchmarkExchange is one exchange with all of it but the decision: a connection that is kept
// open over TLS, the form, the check of an RS256 signature, the answer. What the client does is
// in the time as well.
func BenchmarkExchange(b *testing.B) {
	c, token := signed(b)
	text, config := ownTLS(b, false)
	l := loopback(b)
	running(b, open(b, c), l, config)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }}}
	body := form("subject_token", token).Encode()
	var times []time.Duration
	for b.Loop() {
		began := time.Now()
		w, err := client.Post(audience+"/token", "application/x-www-form-urlencoded", strings.NewReader(body))
		testkit.OK(b, err)
		_, _ = io.Copy(io.Discard, w.Body)
		w.Body.Close()
		testkit.Equal(b, w.StatusCode, 200)
		times = append(times, time.Since(began))
	}
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
