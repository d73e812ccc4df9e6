package serve_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/githubtest"
	stand "github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/serve"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

const audience = "https://ghapp.example.com"

// statusToken is what is needed to see who was refused.
const statusToken = "canary-3f1c9a77e2d0b845"

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
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

// place is a server that runs, before a GitHub.
type place struct {
	dir    string
	github *stand.GitHub
	issuer *githubtest.Issuer
	site   int64
	log    lines
	client *http.Client
	end    func() error
}

const policyText = `
rules:
- name: site
  issuer: ISSUER
  subject: {repository-id: ID, owner-id: 1000001, context: "ref:refs/heads/main"}
  grants: {repositories: ["{{repository}}"], permissions: {contents: PERMISSION}}
`

func start(t *testing.T) *place {
	t.Helper()
	app := testapp.New(t, stand.AppOptions{}, stand.InstallOptions{
		Permissions: map[string]string{"contents": "write", "metadata": "read"}})
	p := &place{github: app.GitHub, issuer: githubtest.NewIssuer()}
	p.site = p.github.AddRepository("acme/site", stand.RepositoryOptions{}).ID
	app.Installation.SelectAll()
	issuer := httptest.NewServer(p.issuer)
	t.Cleanup(issuer.Close)
	p.issuer.SetURL(issuer.URL)
	p.dir = testkit.Must(os.MkdirTemp("", "serve"))(t) // t.TempDir's is too long for a socket
	t.Cleanup(func() { testkit.OK(t, os.RemoveAll(p.dir)) })
	p.write(t, "app.pem", string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testkit.Key(t))})))
	p.setPolicy(t, "read")
	p.write(t, "status.token", statusToken+"\n")
	p.write(t, "server.yaml", fmt.Sprintf(`
listen: unix:%[1]s/door/s
control: %[1]s/control/s
audience: %[2]s
issuers: [{url: '%[3]s', addresses: [127.0.0.1]}]
apps: 
  acme: {app: %[4]s, key: app.pem}
policy: policy.yaml
status: 127.0.0.1:0
status-token: status.token
audit: {file: audit.jsonl}
`, p.dir, audience, issuer.URL, app.Registration.ClientID))
	testkit.OK(t, os.Mkdir(filepath.Join(p.dir, "door"), 0o700))
	p.run(t)
	p.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, "door", "s"))
		}}}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *place) write(t testing.TB, name, text string) {
	t.Helper()
	next := filepath.Join(p.dir, name+".new")
	testkit.OK(t, os.WriteFile(next, []byte(text), 0o600))
	testkit.OK(t, os.Rename(next, filepath.Join(p.dir, name)))
}

func (p *place) setPolicy(t testing.TB, permission string) {
	t.Helper()
	p.write(t, "policy.yaml", strings.NewReplacer("ISSUER", p.issuer.URL(), "ID", fmt.Sprint(p.site),
		"PERMISSION", permission).Replace(policyText))
}

// run starts the server, and ends it with the test.
func (p *place) run(t *testing.T) {
	t.Helper()
	s := testkit.Must(settings.Read(filepath.Join(p.dir, "server.yaml")))(t)
	ctx, stop := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		ended <- serve.Run(ctx, serve.Options{
			Settings: s, Log: slog.New(slog.NewTextHandler(&p.log, nil)), Version: "test",
			Observe:   func(http.RoundTripper) http.RoundTripper { return p.github.RoundTripper() },
			Listening: func(net.Addr) { close(ready) },
		})
	}()
	p.end = sync.OnceValue(func() error { stop(); return <-ended })
	t.Cleanup(func() { testkit.OK(t, p.end()) })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("it does not start: %v\n%s", err, &p.log)
	}
}

// ask asks for a token with a job's identity.
func (p *place) ask(t testing.TB, identity, scope string) (status int, answer map[string]any) {
	t.Helper()
	form := url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {identity}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"resource": {"https://github.com/acme/site"}, "scope": {scope},
	}
	response := testkit.Must(p.client.PostForm("http://localhost/token", form))(t)
	defer response.Body.Close()
	body := testkit.Must(io.ReadAll(response.Body))(t)
	testkit.OK(t, json.Unmarshal(body, &answer))
	return response.StatusCode, answer
}

func (p *place) job() string {
	return p.issuer.Token(githubtest.Workflow{RepositoryID: p.site, Immutable: true}.Claims(audience))
}

func (p *place) audit(t testing.TB) string {
	t.Helper()
	return string(testkit.Must(os.ReadFile(filepath.Join(p.dir, "audit.jsonl")))(t))
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("in ten seconds it was not so that %s", what)
}

func TestJobWithoutAKeyGetsATokenAndAStrangerNone(t *testing.T) {
	t.Parallel()
	p := start(t)
	identity := p.job()
	status, answer := p.ask(t, identity, "contents:read")
	testkit.Equal(t, status, http.StatusOK, "%v %s", answer, &p.log)
	token, _ := answer["access_token"].(string)
	testkit.Equal(t, strings.HasPrefix(token, "ghs_"), true, "a token of GitHub's")
	// All but the ID is the same, whoever is refused and why.
	var said []string
	forged := p.issuer.Token(githubtest.Workflow{RepositoryID: p.site + 1, Immutable: true}.Claims(audience))
	for identity, scope := range map[string]string{p.job(): "contents:write", forged: "contents:read"} {
		status, answer := p.ask(t, identity, scope)
		delete(answer, "id")
		said = append(said, fmt.Sprint(status, answer))
	}
	testkit.Equal(t, said[0], said[1], "what a stranger is told")
	records := p.audit(t)
	testkit.Contains(t, records, `"event":"allowed"`, `"event":"handed out"`, `"event":"refused"`, "by its IDs",
		`"rule":"site"`)
	testkit.OK(t, p.end())
	testkit.Lacks(t, records+p.log.String(), token, identity, strings.Split(identity, ".")[2])
}

func TestPolicyIsReadAnewAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	p := start(t)
	may := func() bool {
		status, _ := p.ask(t, p.job(), "contents:write")
		return status == http.StatusOK
	}
	testkit.Equal(t, may(), false, "before")
	p.setPolicy(t, "write")
	until(t, "the new policy is in force", may)
	p.write(t, "policy.yaml", "rules: [")
	until(t, "the log has the error", func() bool { return strings.Contains(p.log.String(), "cannot be used") })
	testkit.Equal(t, may(), true, "with a policy that is cut")
	p.setPolicy(t, "read")
	until(t, "the policy is narrow again", func() bool { return !may() })
}

// What has happened is told at the status: in numbers to everybody, and with names to who has its token.
func TestStatusTellsOfWhatHasHappened(t *testing.T) {
	t.Parallel()
	p := start(t)
	var address string
	until(t, "the log says where the status is", func() bool {
		_, rest, found := strings.Cut(p.log.String(), "at=http://")
		address, _, _ = strings.Cut(rest, "/")
		return found
	})
	see := func(path string, header ...string) (code int, text string) {
		r := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil))(t)
		if len(header) > 0 {
			r.Header.Set("Authorization", header[0])
		}
		answer := testkit.Must(http.DefaultClient.Do(r))(t)
		defer answer.Body.Close()
		return answer.StatusCode, string(testkit.Must(io.ReadAll(answer.Body))(t))
	}
	code, text := see("/readyz?all")
	testkit.Equal(t, code, http.StatusOK, text)
	for range 2 {
		code, answer := p.ask(t, p.job(), "contents:read")
		testkit.Equal(t, code, http.StatusOK, answer)
	}
	_, answer := p.ask(t, p.job(), "contents:write")
	id := fmt.Sprint(answer["id"])
	_, text = see("/metrics")
	testkit.Contains(t, text, `{rule="site",outcome="handed out",source="minted"} 1`,
		`{rule="site",outcome="handed out",source="cached"} 1`, "\nghapp_server_mints_total 1\n",
		"\nghapp_server_merged_total 0\n", `outcome="refused",source=""} 1`)
	_, page := see("/")
	testkit.Contains(t, page, "3 exchanges in the last minute", "Tokens are handed out")
	testkit.Lacks(t, text+page, id, "repo:acme", p.issuer.URL())
	code, text = see("/refusals", "Bearer "+statusToken)
	testkit.Equal(t, code, http.StatusOK)
	testkit.Contains(t, text, id, "repo:acme", p.issuer.URL())
	code, text = see("/refusals")
	testkit.Equal(t, code, http.StatusUnauthorized)
	testkit.Lacks(t, text, id)
	testkit.OK(t, p.end())
	testkit.Lacks(t, p.audit(t)+p.log.String(), statusToken)
}
