package caller_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

// authority is one that signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	return authority{testkit.Must(x509.ParseCertificate(der))(t), key}
}

func (a authority) file(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "bundle.pem")
	testkit.OK(t, os.WriteFile(path, pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}), 0o600))
	return path
}

// issue signs the certificate of a workload, as change leaves it.
func (a authority) issue(t *testing.T, id string, change func(*x509.Certificate)) []*x509.Certificate {
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{testkit.Must(url.Parse(id))(t)},
	}
	change(template)
	der := testkit.Must(x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key))(t)
	return []*x509.Certificate{testkit.Must(x509.ParseCertificate(der))(t)}
}

func TestCertificateOfSPIFFEIsTakenByTheRulesOfSPIFFE(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	v := testkit.Must(caller.New(caller.Config{Audience: audience, TrustDomains: []caller.TrustDomain{
		{Name: "example.org", CAFile: ours.file(t)}, {Name: "other.example.org", CAFile: theirs.file(t)},
	}}))(t)
	const id = "spiffe://example.org/ns/default/sa/deployer"
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	keep := func(*x509.Certificate) {}
	c := testkit.Must(v.VerifyCertificate(ours.issue(t, id, keep)))(t)
	testkit.Equal(t, c.Issuer, "spiffe://example.org")
	testkit.Equal(t, c.Subject, id)
	for name, chain := range map[string][]*x509.Certificate{
		"none":                       nil,
		"a trust domain of another":  ours.issue(t, "spiffe://other.example.org/a", keep),
		"one that is not listed":     ours.issue(t, "spiffe://third.example.org/a", keep),
		"signed by another":          theirs.issue(t, id, keep),
		"no path":                    ours.issue(t, "spiffe://example.org", keep),
		"a slash at the end":         ours.issue(t, id+"/", keep),
		"a path that climbs":         ours.issue(t, "spiffe://example.org/a/../b", keep),
		"an encoded path":            ours.issue(t, "spiffe://example.org/%61", keep),
		"capitals":                   ours.issue(t, "spiffe://Example.org/a", keep),
		"a port":                     ours.issue(t, "spiffe://example.org:1/a", keep),
		"a user":                     ours.issue(t, "spiffe://u@example.org/a", keep),
		"a query":                    ours.issue(t, id+"?a", keep),
		"a fragment":                 ours.issue(t, id+"#a", keep),
		"another scheme":             ours.issue(t, "https://example.org/a", keep),
		"two names":                  ours.issue(t, id, func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }),
		"no name":                    ours.issue(t, id, func(c *x509.Certificate) { c.URIs = nil }),
		"an authority":               ours.issue(t, id, func(c *x509.Certificate) { c.IsCA = true }),
		"a key that signs others":    ours.issue(t, id, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }),
		"a key that signs nothing":   ours.issue(t, id, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
		"for servers alone":          ours.issue(t, id, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }),
		"ended":                      ours.issue(t, id, func(c *x509.Certificate) { c.NotAfter = past }),
		"of the future":              ours.issue(t, id, func(c *x509.Certificate) { c.NotBefore = future }),
		"the authority's, by itself": {ours.certificate},
	} {
		_, err := v.VerifyCertificate(chain)
		if _, ok := err.(*caller.Refused); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrustDomainIsANameWithAuthorities(t *testing.T) {
	t.Parallel()
	file := newAuthority(t).file(t)
	for _, domain := range []caller.TrustDomain{
		{Name: "", CAFile: file}, {Name: "spiffe://example.org", CAFile: file}, {Name: "Example.org", CAFile: file},
		{Name: "example.org", CAFile: ""}, {Name: "example.org", CAFile: file + ".not"},
	} {
		_, err := caller.New(caller.Config{Audience: audience, TrustDomains: []caller.TrustDomain{domain}})
		testkit.Fails(t, err, "%+v", domain)
	}
}
