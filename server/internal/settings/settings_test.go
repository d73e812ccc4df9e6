package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

const whole = `# of the tests
listen: 0.0.0.0:8443
tls: {certificate: tls.crt, key: /etc/tls.key}
audience: https://ghapp.example.com
issuers:
- https://token.actions.githubusercontent.com
- url: https://kubernetes.default.svc.cluster.local
  ca-file: ca.pem
  addresses: [10.0.0.1, 10.1.0.0/16]
trust-domains: [{name: example.org, ca-file: spire.pem}]
apps:
  deploy:
    app: Iv23liABCDEFGHIJ

    key: app.pem
    owners: [acme]
policy: policy.yaml
audit: {file: audit.jsonl}
nats: {url: 'tls://nats.example.com:4222', certificate: n.crt, key: n.key, seal-key: seal.key}
status: 127.0.0.1:9090
status-token: status.token
`

func read(t testing.TB, text string) (*settings.Settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ghapp-server.yaml")
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	return settings.Read(path)
}

func TestPathsAreTakenFromTheDirectoryOfTheFile(t *testing.T) {
	t.Parallel()
	s := testkit.Must(read(t, whole))(t)
	dir := filepath.Dir(s.Path)
	for got, want := range map[string]string{
		s.TLS.Certificate: "tls.crt", s.Policy: "policy.yaml", s.Audit.File: "audit.jsonl", s.Issuers[1].CAFile: "ca.pem",
		s.TrustDomains[0].CAFile: "spire.pem", s.NATS.Key: "n.key",
		s.StatusToken: "status.token",
	} {
		testkit.Equal(t, got, filepath.Join(dir, want))
	}
	testkit.Equal(t, s.TLS.Key, "/etc/tls.key")
	testkit.Equal(t, s.Issuers[0].URL, "https://token.actions.githubusercontent.com")
	testkit.Equal(t, s.Issuers[1].Addresses[0].String()+" "+s.Issuers[1].Addresses[1].String(), "10.0.0.1/32 10.1.0.0/16")
	app := testkit.Must(testkit.Must(s.Apps())(t).App(config.Selector{Owner: "acme"}))(t)
	testkit.Equal(t, app.App.Text, "Iv23liABCDEFGHIJ")
	testkit.Equal(t, app.Key.Text, filepath.Join(dir, "app.pem"))
}

func TestSettingsThatCannotBeMeantAreRefusedWithTheirLine(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{"audience:", "audiences:"}:                                       `:4: unknown key "audiences"`,
		{"listen: 0.0.0.0:8443\n", ""}:                                    "no address",
		{"listen: 0.0.0.0:8443", "listen: 8443"}:                          ":2: listen: want a text",
		{"listen: 0.0.0.0:8443", "listen: localhost"}:                     ":2: listen: want HOST:PORT",
		{"listen: 0.0.0.0:8443", "listen: unix:door.sock"}:                "absolute path",
		{"listen: 0.0.0.0:8443", "listen: unix:/run/door.sock"}:           "a socket has no TLS",
		{"tls: {certificate: tls.crt, key: /etc/tls.key}\n", ""}:          "no TLS",
		{"certificate: tls.crt, ", ""}:                                    ":3: tls: certificate and key go together",
		{"key: /etc/tls.key}", "key: a, proxies: [10.0.0.1]}"}:            "either the door",
		{"audience: https://ghapp.example.com\n", ""}:                     "no audience",
		{"10.0.0.1,", "here,"}:                                            ":9: issuers[1].addresses[0]: want an address",
		{"- url: https://kubernetes", "- urls: https://k"}:                `:7: unknown key "urls"`,
		{"policy: policy.yaml\n", ""}:                                     "no policy",
		{"audit: {file: audit.jsonl}\n", ""}:                              "one place",
		{"{file: audit.jsonl}", "{file: a, stdout: true}"}:                "one place",
		{", seal-key: seal.key", ""}:                                      "sealed",
		{"status: 127.0.0.1:9090", "status: 127.0.0.1:9090\nstatus: a:1"}: "twice",
		{"    key: app.pem", "    keys: app.pem"}:                         `:15: unknown key "keys" in apps.deploy`,
		{"    app: Iv23liABCDEFGHIJ\n", ""}:                               "has no app",
		{"apps:\n", "\"apps\":\n"}:                                        "no App in the section apps",
		{"  deploy:\n", "  deploy: &a\n"}:                                 "anchors",
	} {
		text := strings.Replace(whole, change[0], change[1], 1)
		if text == whole {
			t.Errorf("%q is not there", change[0])
		}
		testkit.ErrorContains(t, testkit.ErrorOf(read(t, text)), "ghapp-server.yaml", want)
	}
}
