package door_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/door"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// kept is an audit in memory.
type kept struct {
	mu   sync.Mutex
	list []audit.Record
}

func (k *kept) Append(_ context.Context, r audit.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, r)
	return nil
}

// exchangeFor is the whole exchange, with an App on a GitHub, and a rule for the jobs of an
// issuer: each may read its own repository.
func exchangeFor(
	t testing.TB, github, clientID, issuer, audience string, records exchange.Audit,
) *exchange.Exchange {
	key := write(t, filepath.Join(t.TempDir(), "key.pem"), pem.EncodeToMemory(
		&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))}))
	file := fmt.Sprintf("apps:\n  acme:\n    app: %s\n    key: %s\n    host: %s\n", clientID, key, github)
	rules := testkit.Must(policy.Parse("policy.yaml", []byte("rules:\n- name: own\n  issuer: "+issuer+
		"\n  claims: {repository_owner_id: \"1000001\"}\n"+
		"  grants: {repositories: [\"{{repository}}\", acme/payroll], permissions: {contents: read}}\n"), audience))(t)
	return &exchange.Exchange{
		Policy: func() *policy.Policy { return rules }, Audit: records,
		Apps: &exchange.Apps{Options: apps.Options{
			Configuration: func() (*config.Config, error) { return config.Parse("server.yaml", []byte(file), "") },
		}},
	}
}

// town is a GitHub, an App on acme with acme/site, an issuer, and a door between them that is
// open to this machine over TLS.
type town struct {
	github, address string // of GitHub and of the door
	issuer          *githubtest.Issuer
	stand           *githubtest.GitHub
	roots           *x509.CertPool
	ca              string // file
	site            int64  // ID of acme/site
	log             *lines
}

func newTown(t testing.TB, records exchange.Audit) town {
	stand := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	t.Cleanup(func() { stand.Close() })
	github := httptest.NewServer(stand)
	t.Cleanup(github.Close)
	registered := stand.AddApp(githubtest.AppOptions{})
	registered.AddKey(&testkit.Key(t).PublicKey)
	site := stand.AddRepository("acme/site", githubtest.RepositoryOptions{})
	stand.AddRepository("acme/payroll", githubtest.RepositoryOptions{})
	testkit.Must(site.Commit("main", "first", map[string]string{"index.html": "hello\n"}))(t)
	registered.Install("acme", githubtest.InstallOptions{Repositories: []string{"site"}})

	w := town{
		github: github.URL, issuer: githubtest.NewIssuer(), stand: stand, site: site.ID,
		roots: x509.NewCertPool(), log: &lines{},
	}
	issuer := httptest.NewTLSServer(w.issuer)
	t.Cleanup(issuer.Close)
	w.issuer.SetURL(issuer.URL)
	ca := write(t, filepath.Join(t.TempDir(), "ca"),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}))
	l := loopback(t)
	w.address = "https://" + l.Addr().String()
	verifier := testkit.Must(caller.New(caller.Config{Audience: w.address, Issuers: []caller.Issuer{{
		URL: issuer.URL, CAFile: ca, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}}}))(t)
	text, key := certificate(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	dir := t.TempDir()
	w.ca = write(t, filepath.Join(dir, "crt"), text)
	w.roots.AppendCertsFromPEM(text)
	decides := exchangeFor(t, w.github, registered.ClientID, issuer.URL, w.address, records)
	running(t, open(t, door.Config{
		Verifier: verifier, Exchanger: decides, Audience: w.address, Hosts: []string{github.URL},
		Limits: door.Limits{PerIdentity: -1, PerAddress: -1},
		Log:    slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}), l, testkit.Must(door.TLS(w.ca, write(t, filepath.Join(dir, "key"), key), false))(t))
	return w
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// job is an identity whose token the issuer makes for whatever audience is wanted.
type job struct {
	issuer     *githubtest.Issuer
	repository int64 // its ID
}

func (j job) Token(ctx context.Context, audience func(context.Context) (string, error)) (secret.Text, error) {
	wanted, err := audience(ctx)
	return secret.New(j.issuer.Token(githubtest.Workflow{RepositoryID: j.repository}.Claims(wanted))), err
}

func (job) Subject() string { return "acme/site" }
func (job) String() string  { return "job" }

func TestClientOfOursIsAnswered(t *testing.T) {
	t.Parallel()
	records := &kept{}
	w := newTown(t, records)
	client := testkit.Must(broker.New(broker.Config{
		URL: w.address, Identity: job{w.issuer, w.site}, GitHub: ghapp.Client{Host: w.github}, MaxWait: -1,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}},
	}))(t)
	token := testkit.Must(client.Token(t.Context(), ghapp.TokenRequest{
		Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"contents": "read"},
	}))(t)
	testkit.Diff(t, token.Repositories, []string{"acme/site"})
	testkit.Contains(t, token.Secret.Reveal(), "ghs_")
	// Case 33, with all of it: one that the policy does not allow, one that the App is not
	// installed for, one that there is not, and an owner who has no App.
	var told string
	for _, name := range []string{"acme/other", "acme/payroll", "acme/absent", "nobody/site"} {
		_, err := client.Token(t.Context(), ghapp.TokenRequest{Repositories: []string{name}})
		testkit.ErrorIs(t, err, ghapp.ErrBrokerRefused)
		refusal := testkit.ErrorAs[*broker.RefusalError](t, err)
		last := records.list[len(records.list)-1]
		testkit.Equal(t, last.ID, refusal.ID, "the audit explains it: %s", last.Reason)
		refusal.ID = ""
		if told == "" {
			told = refusal.Error()
		}
		testkit.Equal(t, refusal.Error(), told, "%s", name)
	}
}

// Whoever has but curl and git clones by a helper of one line.
func TestGitAndCurlCloneWithoutAKeyOnTheMachine(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	curl := testkit.Program(t, "curl")
	w := newTown(t, &kept{})
	home := t.TempDir()
	token := w.issuer.Token(githubtest.Workflow{RepositoryID: w.site}.Claims(w.address))
	// The token is in a file: what is in arguments everybody on the machine can read.
	header := write(t, filepath.Join(home, "header"), []byte("Authorization: Bearer "+token+"\n"))
	helper := `!f() { test "$1" = get && ` + curl + ` -sf --cacert ` + w.ca + ` -H @` + header +
		` -H Content-Type:text/plain --data-binary @- ` + w.address + `/git-credentials; }; f`
	clone := exec.CommandContext(t.Context(), "git", "-c", "credential.helper=", "-c", "credential.helper="+helper,
		"-c", "credential.useHttpPath=true", "clone", "-q", w.github+"/acme/site", "site")
	clone.Dir = home
	clone.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"}
	output, err := clone.CombinedOutput()
	testkit.OK(t, err, "%s", output)
	testkit.Equal(t, string(testkit.Must(os.ReadFile(filepath.Join(home, "site", "index.html")))(t)), "hello\n")
	configured := string(testkit.Must(os.ReadFile(filepath.Join(home, "site", ".git", "config")))(t))
	for _, printed := range []string{string(output), w.log.String(), configured} {
		testkit.Lacks(t, printed, token, "ghs_")
	}
	testkit.Lacks(t, strings.Join(requests(w.stand), "\n"), token)
}

// requests are the lines of what GitHub was asked, without their credentials.
func requests(stand *githubtest.GitHub) (lines []string) {
	for _, r := range stand.Requests() {
		lines = append(lines, r.Method+" "+r.Path+"?"+r.Query+" "+r.Body)
	}
	return lines
}
