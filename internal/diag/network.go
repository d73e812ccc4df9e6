package diag

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
)

// ofNetwork reports an error of the network that no operation stands before.
func ofNetwork(report *Report, e *api.NetworkError) {
	kind := ghapp.ErrUnreachable
	if e.Untrusted() {
		kind = ghapp.ErrUntrusted
	}
	ofGitHub(report, &ghapp.Error{Kind: kind, Err: e})
}

// anotherServer is the hint where what answers does not do so as GitHub does.
const anotherServer = "check --host and --api-url; a proxy, or the sign-in page of a network, " +
	"may answer in GitHub's place"

// Foreign is the trouble that an answer which is not GitHub's tells of.
func Foreign(e *api.ForeignError) *TroubleError {
	trouble := &TroubleError{Trouble: NotGitHub, Text: e.Error()}
	switch {
	case e.Plain:
		trouble.Hint = "write https:// before the host: --host, and --api-url if there is one"
	case e.Website:
		trouble.Hint = "the API of a GitHub Enterprise Server is at https://HOST/api/v3: correct --api-url, or leave it out"
	case e.Status < http.StatusMultipleChoices:
		trouble.Hint = "a network that wants a sign-in, or a proxy, answers in GitHub's place: open any page in a browser; " +
			"if GitHub itself is reached there, check --host and --api-url"
	}
	return trouble
}

// encoded says how a login stands in the address of a proxy (RFC 3986 section 2.1).
const encoded = "with % as %25, @ as %40, # as %23, / as %2F, ? as %3F, : " +
	"as %3A and a blank as %20 in USER and PASSWORD"

// writeProxy is the hint for a setting that names a proxy and cannot be read.
func writeProxy(setting string) string {
	return "write " + setting + "=http://USER:PASSWORD@HOST:PORT, or without the login, " + encoded + "; or unset it"
}

// unreachableHint says where on the way to GitHub to look.
func unreachableHint(e *ghapp.Error) string {
	if refused, ok := errors.AsType[*api.ProxyError](e.Err); ok {
		switch {
		case refused.Setting != "":
			return writeProxy(refused.Setting)
		case refused.Status == http.StatusProxyAuthRequired:
			return "the proxy wants a login: write it into the variable, https_proxy=http://USER:PASSWORD@HOST:PORT, " + encoded
		}
		return "the proxy is there and does not lead to GitHub: ask who runs it, or name the host in no_proxy"
	}
	if at, ok := errors.AsType[*net.OpError](e.Err); ok && at.Op == "proxyconnect" {
		return "the proxy that https_proxy names cannot be reached: check https_proxy and no_proxy"
	}
	if unknown, ok := errors.AsType[*net.DNSError](e.Err); ok {
		if unknown.IsNotFound {
			return "check the host's name (--host, --api-url) and this machine's DNS"
		}
		return "this machine's DNS does not answer: check its resolver, and whether a proxy is wanted (https_proxy)"
	}
	if _, ok := errors.AsType[*api.BodyError](e.Err); ok {
		return anotherServer
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](e.Err); ok || errors.Is(e.Err, http.ErrSchemeMismatch) {
		return "what answers there speaks no TLS: check the port in --host, and https_proxy"
	}
	return "check the network, https_proxy and --host; if GitHub itself fails, https://www.githubstatus.com says so"
}

// untrustedHint tells apart what can be wrong with a certificate.
func untrustedHint(e *ghapp.Error) string {
	if _, ok := errors.AsType[x509.HostnameError](e.Err); ok {
		return "the certificate is that of another host: check --host and --api-url; " +
			"what answers may be a proxy or a sign-in page"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok &&
		invalid.Reason == x509.Expired && invalid.Cert != nil {
		return fmt.Sprintf("the certificate is good from %s to %s: if that is not now, GitHub's must be renewed, "+
			"and else this machine's clock set",
			invalid.Cert.NotBefore.Format("2006-01-02 15:04"), invalid.Cert.NotAfter.Format("2006-01-02 15:04"))
	}
	return "the server's certificate is signed by an authority this machine does not know: " +
		"give its PEM file with --ca-file, or install it in the system"
}
