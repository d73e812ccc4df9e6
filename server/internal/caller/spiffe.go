package caller

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/server/internal/reread"
)

// TrustDomain is one of SPIFFE whose certificates are believed.
// https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
type TrustDomain struct {
	Name   string // example.org
	CAFile string // its authorities, PEM; read anew when it changes
}

func (d TrustDomain) open() (*reread.Files[*x509.CertPool], error) {
	if !trustDomainName(d.Name) {
		return nil, fmt.Errorf("%q is no trust domain of SPIFFE", d.Name)
	}
	return reread.Open(func(contents [][]byte) (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(contents[0]) {
			return nil, errors.New("no certificate in it")
		}
		return pool, nil
	}, d.CAFile)
}

// TakesCertificates reports whether a certificate can prove anything here, so that a server has
// a reason to ask for one.
func (v *Verifier) TakesCertificates() bool { return len(v.domains) > 0 }

// VerifyCertificate returns who has the key of a chain's first certificate, which TLS has proved
// somebody to have. The error is a [*Refused].
//
// Each trust domain vouches for its own IDs only: which authorities count is decided by the ID.
func (v *Verifier) VerifyCertificate(chain []*x509.Certificate) (Caller, error) {
	if len(chain) == 0 {
		return Caller{}, &Refused{"there is no certificate"}
	}
	leaf := chain[0]
	domain, err := checkSVID(leaf)
	if err != nil {
		return Caller{}, &Refused{err.Error()}
	}
	roots := v.domains[domain]
	if roots == nil {
		return Caller{}, &Refused{"its trust domain is not listed"}
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots.Get(), Intermediates: between, CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return Caller{}, &Refused{"no authority of its trust domain has signed it for now"}
	}
	return Caller{Issuer: "spiffe://" + domain, Subject: leaf.URIs[0].String(), Expires: leaf.NotAfter}, nil
}

// checkSVID returns the trust domain of a leaf certificate that is as section 4 and 5 want it.
func checkSVID(leaf *x509.Certificate) (domain string, err error) {
	switch {
	case len(leaf.URIs) != 1:
		return "", fmt.Errorf("it has %d URIs as names; one of SPIFFE's has one", len(leaf.URIs))
	case leaf.IsCA:
		return "", errors.New("it is an authority's")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0,
		leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", errors.New("its key is not for signatures, or for those of an authority")
	}
	return parseID(leaf.URIs[0].String())
}

// parseID returns the trust domain of a workload's SPIFFE ID.
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity
func parseID(id string) (domain string, err error) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok || len(id) > 2048 {
		return "", errors.New("its name is no SPIFFE ID")
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok || !trustDomainName(domain) {
		return "", errors.New("its SPIFFE ID has no trust domain, or no path")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, notInSegment) {
			return "", errors.New("its SPIFFE ID has a path that is not allowed")
		}
	}
	return domain, nil
}

func notInSegment(r rune) bool { return notInDomain(r) && (r < 'A' || r > 'Z') }

func notInDomain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}

func trustDomainName(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, notInDomain)
}
