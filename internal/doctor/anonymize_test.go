package doctor

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestNamesArePlaceholders(t *testing.T) {
	n := &Names{}
	n.home("/home/jane")
	n.repository("acme/site")
	n.repository("octo-corp/site")
	n.owner("acme-labs")
	n.address("ghe.acme.example:8443")
	n.address("github.com")
	n.app(&ghapp.AppInfo{ID: 1234, ClientID: "Iv23liABCDEFGHIJKLMN", Slug: "acme-deployer",
		Name: "Acme Deployer", Owner: "acme"})
	n.installation(&ghapp.InstallationInfo{ID: 30000001, Account: "Acme", AppSlug: "acme-deployer"})
	for _, test := range []struct{ text, want string }{
		{"acme/site is reached", "OWNER-1/REPO-1 is reached"},
		{"ACME/SITE", "OWNER-1/REPO-1"},
		{"octo-corp/site is another's", "OWNER-2/REPO-1 is another's"},
		{"30000001 on acme-labs", "INSTALLATION-1 on OWNER-3"},
		{"the web site of acme", "the web site of OWNER-1"}, // the repository's name is a word
		{"acmeville, newacme", "acmeville, newacme"},
		{"Acme Deployer (acme-deployer) of acme", "APP-1 (APP-2) of OWNER-1"},
		{"App ID 1234, 12345", "App ID APP-ID-2, 12345"},
		{"Iv23liABCDEFGHIJKLMN", "APP-ID-1"},
		{"https://ghe.acme.example:8443/api/v3", "https://HOST-1:8443/api/v3"},
		{"https://github.com/acme/site.git", "https://github.com/OWNER-1/REPO-1.git"},
		{"https://api.github.com and https://www.githubstatus.com",
			"https://api.github.com and https://www.githubstatus.com"},
		{"/home/jane/.config/ghapp/config.yaml:3", "~/.config/ghapp/config.yaml:3"},
		{"/home/other/app.pem", "/home/USER-1/app.pem"},
		{"/Users/kim/app.pem", "/Users/USER-2/app.pem"},
		{"url.https://mirror.corp.example/team/secret/.insteadof", "url.https://HOST-2/…"},
		{"url.git@gitlab.corp.example:.insteadof", "url.git@HOST-3:.insteadof"},
		{"dial tcp 10.1.2.3:443: connection refused", "dial tcp IP-1:443: connection refused"},
		{"[2001:db8::7]:443 again 10.1.2.3", "[IP-2]:443 again IP-1"},
		{"127.0.0.1:80 and [::1]:80, at 10:11:12", "127.0.0.1:80 and [::1]:80, at 10:11:12"},
		{"git 2.39.5, libcurl 8.14.1", "git 2.39.5, libcurl 8.14.1"},
		{"SHA256:YUVv/28Ba3wP/0Cvtvewl+WNFX5YTrg4ELGt7vOg61I=", "SHA256:YUVv/28Ba3wP/0Cvtvewl+WNFX5YTrg4ELGt7vOg61I="},
		{"request C0DE:00001B:000001B:000001B:6B02F666", "request C0DE:00001B:000001B:000001B:6B02F666"},
	} {
		testkit.Equal(t, n.Hide(test.text), test.want, "%q became", test.text)
	}
}

// An authority of a company's own is named after it, and so is what it vouches for.
func TestNamesOfACertificateArePlaceholders(t *testing.T) {
	n := &Names{}
	n.certificate(&x509.Certificate{
		DNSNames: []string{"*.corp.example", "ghe.acme.example", "github.com"},
		Issuer:   pkix.Name{CommonName: "Acme Root", Organization: []string{"Acme Inc."}},
	})
	got := n.Hide("of Acme Root (CN=Acme Root,O=Acme Inc.), valid for *.corp.example, ghe.acme.example, github.com")
	if want := "of AUTHORITY-1 (AUTHORITY-2), valid for *.HOST-1, HOST-2, github.com"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The same text has the same placeholders whenever it is shown.
func TestPlaceholdersStay(t *testing.T) {
	n := &Names{}
	first := n.Hide("ssh://git@one.example/x and ssh://git@two.example/y")
	n.owner("acme")
	testkit.Equal(t, n.Hide("ssh://git@one.example/x and ssh://git@two.example/y"), first, "and then")
	// What is a placeholder is not replaced in its turn.
	n.owner("OWNER")
	n.owner("HOST")
	testkit.Equal(t, n.Hide("acme of OWNER on HOST"), "OWNER-1 of OWNER-2 on OWNER-3")
}

func TestFindingKeepsWhatIsNoName(t *testing.T) {
	n := &Names{}
	n.repository("token/token")
	f := n.HideIn(Finding{Link: "token", State: Broken, About: "token", Text: "token/token", Cause: "of token",
		Hint: "ask token", Kind: "token-refused", ExitCode: 4})
	want := Finding{Link: "token", State: Broken, About: "OWNER-1", Text: "OWNER-1/REPO-1", Cause: "of OWNER-1",
		Hint: "ask OWNER-1", Kind: "token-refused", ExitCode: 4}
	testkit.Equal(t, f, want)
}
