package diag_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestHintsOfTheNetworkSayWhereOnTheWay(t *testing.T) {
	untrusted := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		err  error
		want string
		exit int
	}{
		"no such name": {&net.DNSError{IsNotFound: true}, "this machine's DNS", fault.Unreachable},
		"DNS silent":   {&net.DNSError{IsTimeout: true}, "DNS does not answer", fault.Unreachable},
		"refused":      {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "check the network", fault.Unreachable},
		"proxy down": {&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED},
			"cannot be reached: check https_proxy", fault.Unreachable},
		"proxy not found": {&net.OpError{Op: "proxyconnect", Err: &net.DNSError{IsNotFound: true}},
			"cannot be reached: check https_proxy", fault.Unreachable},
		"proxy wants a name": {&api.ProxyError{Proxy: "p:1", Status: 407}, "USER:PASSWORD", fault.Unreachable},
		"proxy refuses":      {&api.ProxyError{Proxy: "p:1", Status: 403}, "ask who runs it", fault.Unreachable},
		"no TLS":             {tls.RecordHeaderError{}, "speaks no TLS", fault.Unreachable},
		"anything":           {errors.New("broken pipe"), "githubstatus", fault.Unreachable},
		"unknown authority":  {untrusted(x509.UnknownAuthorityError{}), "--ca-file", fault.Configuration},
		"another name": {untrusted(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "github.com"}),
			"that of another host", fault.Configuration},
		"expired": {untrusted(x509.CertificateInvalidError{Reason: x509.Expired,
			Cert: &x509.Certificate{NotBefore: day, NotAfter: day.AddDate(1, 0, 0)}}),
			"from 2026-01-02 03:04 to 2027-01-02 03:04", fault.Configuration},
	} {
		network := &api.NetworkError{Host: "github.com", Err: test.err}
		kind := ghapp.ErrUnreachable
		if test.exit == fault.Configuration {
			kind = ghapp.ErrUntrusted
		}
		// As the commands have it, and as the doctor does.
		for _, err := range []error{&ghapp.Error{Kind: kind, Op: "mint", Err: network}, network} {
			report := diag.Explain(err)
			if !strings.Contains(report.Hint, test.want) || report.ExitCode != test.exit ||
				report.Kind != diag.Code(string(kind)) {
				t.Errorf("%s: %+v, want %q", name, report, test.want)
			}
		}
	}
}

func TestProxyThatCannotBeReadHasItsNameInTheHint(t *testing.T) {
	network := &api.NetworkError{Host: "github.com", Err: &api.ProxyError{Setting: "HTTPS_PROXY"}}
	for _, err := range []error{&ghapp.Error{Kind: ghapp.ErrUnreachable, Op: "mint", Err: network}, network} {
		report := diag.Explain(err)
		testkit.Contains(t, report.Hint, "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT", "# as %23")
		testkit.Equal(t, report.ExitCode, fault.Configuration)
	}
}

func TestAnswerOfAnotherServerHasItsOwnHint(t *testing.T) {
	for want, foreign := range map[string]*api.ForeignError{
		"sign-in page":   {Host: "h", Status: 404, Media: "text/html"},
		"in a browser":   {Host: "h", Status: 200, Media: "text/html"}, // of a network that wants a sign-in
		"/api/v3":        {Host: "h", Status: 404, Media: "text/html", Website: true},
		"write https://": {Host: "h", Status: 400, Plain: true},
	} {
		for _, err := range []error{
			&ghapp.Error{Kind: ghapp.ErrUnreachable, Op: "mint", Err: foreign}, diag.Foreign(foreign),
			&api.NetworkError{Host: "h", Err: foreign},
		} {
			report := diag.Explain(err)
			if !strings.Contains(report.Hint, want) || report.ExitCode != fault.Configuration ||
				report.Kind != string(diag.NotGitHub) || !strings.Contains(report.Message, foreign.Error()) {
				t.Errorf("%+v, want %q", report, want)
			}
		}
	}
}
