package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// authority signs certificates for 127.0.0.1.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	text := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, text, text, a.key.Public(), a.key))(t)
	a.cert = testkit.Must(x509.ParseCertificate(der))(t)
	return a
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) sign(t *testing.T) tls.Certificate {
	t.Helper()
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	text := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ghapp"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, text, a.cert, key.Public(), a.key))(t)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClusterIsSpokenToByMutualTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	s := testkit.Must(server.NewServer(&server.Options{
		ServerName: "tls", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		TLS: true, TLSVerify: true, TLSTimeout: 10,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{ours.sign(t)}, ClientCAs: ours.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS12,
		},
	}))(t)
	s.Start()
	t.Cleanup(func() { stopNATS(s) })
	if !s.ReadyForConnections(patient) {
		t.Fatal("NATS is not ready")
	}
	url := strings.Replace(s.ClientURL(), "nats://", "tls://", 1)
	with := func(c *tls.Config) func(*Options) {
		return func(o *Options) { o.TLS, o.Patience = c, patient }
	}
	e := replica(t, url, with(&tls.Config{Certificates: []tls.Certificate{ours.sign(t)}, RootCAs: ours.pool()}))
	testkit.OK(t, e.Ready(t.Context()))
	put(t, e.Store("1"), keyOf("0a"), "x")
	for what, c := range map[string]*tls.Config{
		"without a certificate":      {RootCAs: ours.pool()},
		"with one of another's":      {Certificates: []tls.Certificate{theirs.sign(t)}, RootCAs: ours.pool()},
		"where the server is theirs": {Certificates: []tls.Certificate{ours.sign(t)}, RootCAs: theirs.pool()},
	} {
		stranger := replica(t, url, with(c))
		testkit.ErrorAs[*AwayError](t, stranger.Ready(t.Context()))
		testkit.Equal(t, stranger.conn.IsConnected(), false, what)
	}
}

func TestReplicaThatEndsLeavesItsShareToOthers(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	all[2].Close()
	until(t, "the others know two", func() bool {
		return all[0].beat(t.Context()) == nil && all[0].others.known() == 2
	})
	if got := takeAll(t, day("x", 90), all[:2]...); got < 85 || got > 90 {
		t.Errorf("two take %d of 90", got)
	}
}

func TestSealKeysAreReadFromAFileThatOthersCannotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		testkit.OK(t, os.WriteFile(path, []byte(text), mode))
		testkit.OK(t, os.Chmod(path, mode))
		return path
	}
	keys := testkit.Must(ReadSealKeys(write("good", sealText+"\n\n"+sealText+"2\n", 0o600)))(t)
	testkit.Equal(t, len(keys), 2)
	testkit.Equal(t, keys[1].Reveal(), sealText+"2")
	for _, named := range []string{
		write("open", sealText, 0o644), write("empty", "\n", 0o600), write("short", "canary\n", 0o600), dir,
		"pkcs11:token=x?pin-value=canary", "file://" + write("open2", sealText, 0o604),
	} {
		err := testkit.ErrorOf(ReadSealKeys(named))
		testkit.ErrorAs[*fault.SettingError](t, err)
		testkit.Lacks(t, err.Error(), "canary", sealText)
	}
	testkit.ErrorIs(t, testkit.ErrorOf(ReadSealKeys(filepath.Join(dir, "none"))), os.ErrNotExist)
}
