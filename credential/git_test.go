package credential_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// helperDirectory makes the test binary a credential helper: it copies what git
// says to a file there, named after the operation, and answers a get.
const helperDirectory = "CREDENTIAL_TEST_HELPER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDirectory); dir != "" {
		if err := beHelper(dir, os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func beHelper(dir, operation string) error {
	var said bytes.Buffer
	if _, err := said.ReadFrom(os.Stdin); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, operation), said.Bytes(), 0o600); err != nil {
		return err
	}
	if operation != string(credential.Get) {
		return nil
	}
	request, err := credential.Parse(&said)
	if err != nil {
		return err
	}
	return credential.Answer(request, "x-access-token", secret.New("ghs_example"), expiry).Encode(os.Stdout)
}

var expiry = time.Now().Add(time.Hour)

// git is the git on PATH with our helper and, after it, git's own store.
type git struct {
	t           *testing.T
	heard, home string
}

func newGit(t *testing.T) *git { return &git{t, t.TempDir(), t.TempDir()} }

// credential runs "git credential action" and returns its standard output.
func (g *git) credential(action, stdin string) (string, error) {
	g.t.Helper()
	self := testkit.Must(os.Executable())(g.t)
	cmd := exec.Command("git", "-c", "credential.helper=", "-c", "credential.helper=!'"+self+"'",
		"-c", "credential.helper=store",
		"-c", "credential.useHttpPath=true", "credential", action)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		helperDirectory + "=" + g.heard,
		"GORACE=atexit_sleep_ms=0", // a helper built with -race would wait a second before it ends
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	return string(out), err
}

// said returns what git said to the helper, and whether it called it.
func (g *git) said(operation credential.Operation) (string, bool) {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.heard, string(operation)))
	if err != nil && !os.IsNotExist(err) {
		g.t.Fatal(err)
	}
	return string(text), err == nil
}

// knowsAuthType reports whether git is 2.46 or later.
func (g *git) knowsAuthType() bool {
	out, err := g.credential("capability", "")
	return err == nil && strings.Contains(out, "capability authtype\n")
}

// TestParseReadsAsGitDoes gives git and Parse the same bytes and compares what
// either took them to mean: git's view is what it tells its helper.
func TestParseReadsAsGitDoes(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"attributes", "protocol=https\nhost=github.com\npath=acme/site.git\nusername=u\n"},
		{"last value counts", "protocol=http\nprotocol=https\nhost=a\nhost=b\npath=c\npath=d\n"},
		{"unknown attribute", "new=1\nlist[]=a\nprotocol=https\nHost=a\nhost=b\n"},
		{"empty line", "protocol=https\nhost=a\n\nhost=b\n"},
		{"equals signs", "protocol=https\nhost=a\npath=b=c==\n"},
		{"url", "url=https://github.com/acme/site.git\n"},
		{"url and port", "url=https://github.com:8443/acme\n"},
		{"url and user", "url=https://u@github.com/acme\n"},
		{"url and encoded user", "url=https://u%40x@github.com/acme\n"},
		{"url and two at signs", "url=https://u@v@h/p\n"},
		{"url at sign in path", "url=https://h/p@q:r\n"},
		{"url at sign in query", "url=https://h?x@y/z\n"},
		{"url without path", "url=https://h\n"},
		{"url with slashes only", "url=https://h/////\n"},
		{"url with trailing slashes", "url=https://h//a/b//\n"},
		{"url with encoded slashes", "url=https://h/%2f%2f\n"},
		{"url with query", "url=https://h/?q\n"},
		{"url with fragment", "url=https://h#f\n"},
		{"url encoded host", "url=https://%67ithub.com/a%20b\n"},
		{"url encoded host with port", "url=https://%67ithub.com:443/a\n"},
		{"url colon in path", "url=https://h/a%20b:c%20d\n"},
		{"url bad escapes", "url=https://h/%zz%4%\n"},
		{"url NUL", "url=https://h%00x/p\n"},
		{"url bytes", "url=https://h/%ff%1b\n"},
		{"url IPv6", "url=https://[::1]:8080/p\n"},
		{"url forgets", "username=u\npath=x\nurl=https://h\n"},
		{"url then attributes", "url=https://h/p\npath=q\nusername=u\n"},
		{"url newline", "url=https://h%0ahost=github.com/\n"},
		{"url newline in path", "url=https://h/%0ahost=github.com\n"},
		{"url no scheme", "url=h/p\n"},
		{"url empty scheme", "url=://h/p\n"},
		{"no equals sign", "protocol=https\nhost\n"},
		{"not a boolean", "protocol=https\nhost=h\nquit=maybe\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, err := credential.Parse(strings.NewReader(tt.in))
			g := newGit(t)
			_, gitErr := g.credential("fill", tt.in)
			said, called := g.said(credential.Get)
			if (err == nil) != (gitErr == nil) || called != (gitErr == nil) {
				t.Fatalf("Parse: %v, git: %v, helper called: %t", err, gitErr, called)
			}
			if err != nil {
				return
			}
			// Capabilities belong to who speaks: git announces its own.
			ours.Capabilities = nil
			testkit.Diff(t, encode(t, ours), said)
		})
	}
}

// TestGitTakesTheAnswer sends the answer through git in the way of a script
// without capabilities, and in the way of git-lfs, with them. Where git can be
// told so, no other helper saves the token.
func TestGitTakesTheAnswer(t *testing.T) {
	const origin = "protocol=https\nhost=github.com\npath=acme/site.git\n"
	for _, capable := range []bool{false, true} {
		t.Run(fmt.Sprint("capabilities ", capable), func(t *testing.T) {
			g := newGit(t)
			in, ephemeral := origin, false
			if capable {
				in, ephemeral = "capability[]=authtype\ncapability[]=state\n"+in, g.knowsAuthType()
			}
			out := testkit.Must(g.credential("fill", in))(t)
			got := testkit.Must(credential.Parse(strings.NewReader(out)))(t)
			if username, password := got.Login(); username != "x-access-token" || password.Reveal() != "ghs_example" {
				t.Errorf("git has the login %q, %q", username, password.Reveal())
			}
			if got.Ephemeral != ephemeral || got.Encoded.IsZero() == ephemeral || got.Password.IsZero() != ephemeral {
				t.Errorf("ephemeral %t, want %t: %+v", got.Ephemeral, ephemeral, got)
			}

			for action, operation := range map[string]credential.Operation{"approve": credential.Store,
				"reject": credential.Erase} {
				testkit.Must(g.credential(action, out))(t)
				said, _ := g.said(operation)
				about := testkit.Must(credential.Parse(strings.NewReader(said)))(t)
				if _, password := about.Login(); password.Reveal() != "ghs_example" {
					t.Errorf("%s is about the password %q", operation, password.Reveal())
				}
			}
			testkit.Must(g.credential("approve", out))(t)
			if _, err := os.Stat(filepath.Join(g.home, ".git-credentials")); os.IsNotExist(err) != ephemeral {
				t.Errorf("git-credential-store, ephemeral %t: %v", ephemeral, err)
			}
		})
	}
}
